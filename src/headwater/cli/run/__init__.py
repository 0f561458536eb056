"""`headwater run`: start runs, look at them, talk to them."""
