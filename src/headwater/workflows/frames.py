"""The stack of the code that is running."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

frame: Final[Callable[[int], FrameType]] = vars(sys)["_getframe"]
"""The frame so many calls up; `inspect` has a slower one, which raises more audit events."""
