"""What a program holds: start runs, look at them, send to them, wait for their results."""

from headwater.client.client import Client, run_once
from headwater.client.handle import RunHandle

__all__ = ["Client", "RunHandle", "run_once"]
