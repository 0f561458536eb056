"""Pipelines: declared, and refused where a part is missing."""
