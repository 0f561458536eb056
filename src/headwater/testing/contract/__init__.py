"""The contract of a log's backend, as tests that any backend can run.

The author of a backend tells the suite how to reach a log (a `Site`), and inherits the tests:

    import pytest
    from headwater.testing.contract import LogContract, Site

    class ShelfSite(Site):
        name = "shelf"
        lacks = {
            "clock": "it takes the machine's time",
            "network": "it is a folder of files",
            ...
        }

        def __init__(self, folder):
            self.folder = folder

        def backend(self):
            return ShelfBackend(self.folder)

        def fresh(self):
            return ShelfSite(self.folder / "more" / uuid4().hex)

        def code(self):
            return f"from shelf import ShelfBackend; backend = ShelfBackend({str(self.folder)!r})"

    class TestShelf(LogContract):
        @pytest.fixture
        def site(self, tmp_path):
            return ShelfSite(tmp_path)

Each test gets a new, empty log. What a backend cannot do is declared in `lacks`, with the reason; nothing is left out
silently. Behind every test the invariants of `headwater.testing.invariants` are checked. The tests need pytest and
Hypothesis, and no plugin of pytest; nothing but this package imports them.
"""

from pkgutil import iter_modules

import pytest

# Before the modules are imported, so that a failing assertion shows what it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from headwater.testing.contract.moving import carried_over  # noqa: E402
from headwater.testing.contract.site import Ability, Site  # noqa: E402
from headwater.testing.contract.suite import LogContract  # noqa: E402

__all__ = ["Ability", "LogContract", "Site", "carried_over"]
