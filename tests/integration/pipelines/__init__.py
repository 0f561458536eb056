"""Pipelines on real logs."""
