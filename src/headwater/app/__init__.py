"""What a program declares: an app with its workflows and steps. Declaring opens nothing."""

from headwater.app.current import current_step
from headwater.app.hooks import Hook
from headwater.app.program import Headwater
from headwater.app.steps import Step, StepContext
from headwater.app.workflows import Workflow

__all__ = ["Headwater", "Hook", "Step", "StepContext", "Workflow", "current_step"]
