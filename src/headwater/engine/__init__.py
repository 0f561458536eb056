"""What makes runs go on: claims, ownership, the writes of a run, steps, timers, recovery."""
