"""The limits: what the bare drivers do with the same rows, durably, and nothing else."""
