"""HTTP over a log: what programs build on, and a page to look at. It answers, and never does background work."""
