"""What a program declares: an app with its workflows, steps and domains. Declaring opens nothing."""

from headwater.app.current import current_step
from headwater.app.domain import Domain
from headwater.app.hooks import Hook
from headwater.app.program import Headwater
from headwater.app.steps import Step, StepContext
from headwater.app.workflows import Workflow

__all__ = ["Domain", "Headwater", "Hook", "Step", "StepContext", "Workflow", "current_step"]
