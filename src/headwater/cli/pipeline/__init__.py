"""`headwater pipeline`: what an app declares, and how it fares."""
