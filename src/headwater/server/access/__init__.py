"""Who may do what: tenants, and API keys that stand for them."""
