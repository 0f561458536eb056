"""How Python code makes a run: the deterministic loop, and the calls that it matches against the history."""
