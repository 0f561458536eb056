"""How the parts of a program tell what they do: counts, times, traces, log lines."""
