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

from headwater.testing.contract.append import AppendContract
from headwater.testing.contract.cursors import CursorsContract
from headwater.testing.contract.enlisted import EnlistedContract
from headwater.testing.contract.following import FollowingContract
from headwater.testing.contract.guards import FencesContract, KeysContract, RowsContract
from headwater.testing.contract.idempotence import IdempotenceContract
from headwater.testing.contract.machine import MachineContract
from headwater.testing.contract.moving import MovingContract, carried_over
from headwater.testing.contract.network import NetworkContract
from headwater.testing.contract.order import OrderContract, RaceContract
from headwater.testing.contract.poison import PoisonContract
from headwater.testing.contract.reads import ReadsContract
from headwater.testing.contract.site import Ability, Site
from headwater.testing.contract.snapshots import SnapshotsContract
from headwater.testing.contract.tenants import TenantsContract
from headwater.testing.contract.times import TimesContract
from headwater.testing.contract.together import TogetherContract
from headwater.testing.contract.verifying import VerifyingContract


class LogContract(
    AppendContract,
    KeysContract,
    RowsContract,
    FencesContract,
    IdempotenceContract,
    TogetherContract,
    OrderContract,
    RaceContract,
    EnlistedContract,
    NetworkContract,
    PoisonContract,
    TimesContract,
    ReadsContract,
    CursorsContract,
    FollowingContract,
    SnapshotsContract,
    MovingContract,
    VerifyingContract,
    TenantsContract,
    MachineContract,
):
    """All of the contract."""


__all__ = ["Ability", "LogContract", "Site", "carried_over"]
