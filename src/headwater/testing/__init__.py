"""What users and third-party backends test with."""

from headwater.testing.crash_everywhere import CrashFailure, crash_everywhere
from headwater.testing.effects import Effects
from headwater.testing.golden import assert_replays, record_history

__all__ = ["CrashFailure", "Effects", "assert_replays", "crash_everywhere", "record_history"]
