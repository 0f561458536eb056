"""The `headwater` command."""

from headwater.cli.program import main

__all__ = ["main"]
