"""Projections: folds of the log, the places that keep their states, and the checkpoints that move with them."""
