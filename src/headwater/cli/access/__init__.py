"""`headwater key` and `headwater tenant`: who may come in over HTTP."""
