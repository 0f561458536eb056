"""Headwater: durable workflows, agents and projections as folds of one typed, append-only log."""

from headwater.app import Headwater, Hook, Step, Workflow, current_step
from headwater.client import Client, RunHandle
from headwater.errors import FatalError, HeadwaterError, RetryableError, StepError
from headwater.events.envelope import NewEvent, RawEvent, Recorded, Stream
from headwater.events.ids import derived_id
from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.log.cursor import Cursor
from headwater.log.log import Log, LogOptions
from headwater.log.open import open_log
from headwater.log.port import Data
from headwater.log.side import Fence
from headwater.log.snapshots import Fold, Folded, Folder
from headwater.log.write import ANY, NO_STREAM, Appended, Write

__all__ = [
    "ANY",
    "NO_STREAM",
    "Appended",
    "Client",
    "Cursor",
    "Data",
    "Event",
    "FatalError",
    "Fence",
    "Fold",
    "Folded",
    "Folder",
    "Headwater",
    "HeadwaterError",
    "Hook",
    "Log",
    "LogOptions",
    "NewEvent",
    "RawEvent",
    "Recorded",
    "Registry",
    "RetryableError",
    "RunHandle",
    "Step",
    "StepError",
    "Stream",
    "Workflow",
    "Write",
    "current_step",
    "derived_id",
    "open_log",
]
