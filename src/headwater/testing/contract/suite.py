"""All of the contract, put together."""

from __future__ import annotations

from headwater.testing.contract.append import AppendContract
from headwater.testing.contract.cursors import CursorsContract
from headwater.testing.contract.enlisted import EnlistedContract
from headwater.testing.contract.entries import EntriesContract, EventlessContract
from headwater.testing.contract.following import FollowingContract
from headwater.testing.contract.guards import FencesContract, KeysContract, RowsContract
from headwater.testing.contract.idempotence import IdempotenceContract
from headwater.testing.contract.machine import MachineContract
from headwater.testing.contract.moving import MovingContract
from headwater.testing.contract.network import NetworkContract
from headwater.testing.contract.order import OrderContract, RaceContract
from headwater.testing.contract.owners import OwnersContract, WorkersContract
from headwater.testing.contract.poison import PoisonContract
from headwater.testing.contract.queues import QueuesContract
from headwater.testing.contract.reads import ReadsContract
from headwater.testing.contract.snapshots import SnapshotsContract
from headwater.testing.contract.states import StatesContract
from headwater.testing.contract.sweeps import SweepsContract
from headwater.testing.contract.tenants import TenantsContract
from headwater.testing.contract.times import TimesContract
from headwater.testing.contract.together import TogetherContract
from headwater.testing.contract.verifying import VerifyingContract


class LogContract(
    AppendContract,
    KeysContract,
    RowsContract,
    FencesContract,
    WorkersContract,
    OwnersContract,
    SweepsContract,
    QueuesContract,
    EntriesContract,
    EventlessContract,
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
    StatesContract,
    MovingContract,
    VerifyingContract,
    TenantsContract,
    MachineContract,
):
    """All of the contract."""
