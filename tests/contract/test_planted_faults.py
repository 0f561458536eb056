"""The contract suite can fail: each fault planted in a backend is caught by the test that is meant to catch it.

A contract that passes on everything proves nothing. The same tests pass on the backends without the faults.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from headwater.errors import HeadwaterError
from headwater.log import group, live, rules, transfer, verify
from headwater.log.side import Fence
from headwater.log.sqlite import append as sqlite_append
from headwater.log.sqlite import backend as sqlite_backend
from headwater.log.sqlite import restore as sqlite_restore
from headwater.testing.contract import LogContract, Site, behaviour, following
from tests.contract import faults, owner_faults
from tests.contract.sites import MemorySite, PostgresSite, SqliteSite
from tests.servers.postgres import Template

CAUGHT = (AssertionError, HeadwaterError, TimeoutError, ExceptionGroup, pytest.fail.Exception, IndexError)


RACES = 4
"""How often a test that may lose its race with the fault is run."""


def catches(name: str, site: Site) -> str:
    """The named test of the contract fails on this site; what it says."""
    test: Callable[[Site], None] = getattr(LogContract(), name)
    try:
        test(site)
    except CAUGHT as caught:
        return repr(caught)
    pytest.fail(f"{name} does not notice the fault")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that shows as waiting forever need not be waited for long."""
    monkeypatch.setattr(behaviour, "PATIENCE", 3.0)
    monkeypatch.setattr(following, "SOON", 0.5)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (faults.GapsFromASequence, "test_refused_calls_leave_no_gap_between_the_others"),
        (faults.PositionsBeforeTheLock, "test_writers_on_several_handles_and_readers_that_watch"),
        (faults.ExpectationsFirst, "test_ids_are_looked_up_before_expectations"),
        (faults.ExpectationsFirst, "test_an_unknown_outcome_is_settled_before_the_next_batch"),
        (faults.UncheckedFence, "test_expecting_a_fence_fits_its_epoch"),
        (faults.UncheckedFence, "test_an_append_after_a_claim_is_refused"),
        (faults.UnlockedFence, "test_a_claim_and_a_stale_append_at_once_never_both_succeed"),
        (faults.ClaimWithoutEpoch, "test_a_claim_raises_the_epoch_and_names_the_holder"),
        (faults.LostWakes, "test_side_rows_of_a_call_take_effect_in_their_order"),
        (faults.ReleaseWhateverCame, "test_a_release_holds_only_if_nothing_came_in"),
        (faults.SideRowsOfRefusedCalls, "test_a_refused_call_leaves_nothing"),
        (faults.HalfACall, "test_writes_of_one_call_stand_or_fall_together"),
        (faults.Forgetful, "test_the_same_write_again_gives_the_same_places"),
        (faults.Forgetful, "test_an_event_told_by_many_at_once_is_written_once"),
        (faults.IdsOfEverybody, "test_ids_belong_to_a_tenant"),
        (faults.WritesTwiceWhenUnsure, "test_order_is_the_order_of_answers"),
        (faults.CursorPastTheEnd, "test_pages_bring_cursors_that_stand_behind_what_was_left_out"),
        (faults.CursorPastTheEnd, "test_a_subscription_catches_up_and_then_follows"),
        (faults.HintsAreTruth, "test_a_hint_without_an_event_makes_nothing_up"),
        (faults.RepeatingCursor, "test_a_page_of_the_port_says_how_far_it_has_looked"),
        (faults.TimeGoesBack, "test_a_clock_that_jumps_never_takes_recorded_time_back"),
        (faults.TimeGoesBack, "test_a_log_whose_last_event_is_of_the_future_goes_on_from_there"),
        (faults.LastIsLeftOut, "test_reading_until_a_time_gives_what_was_recorded_by_then"),
        (faults.SnapshotsAreTruth, "test_wrong_snapshots_are_passed_over"),
        (faults.SnapshotsAreTruth, "test_a_snapshot_of_another_history_is_passed_over"),
        (faults.EverybodysRows, "test_tenants_do_not_see_each_others_rows"),
        (faults.KeepsHalfAnImport, "test_a_cut_off_or_altered_export_is_refused_and_nothing_is_imported"),
    ],
)
def test_a_faulty_backend_is_caught(fault: faults.Fault, test: str) -> None:
    catches(test, MemorySite(fault))


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (owner_faults.GivesToStrangers, "test_a_worker_that_is_not_enrolled_is_given_nothing"),
        (owner_faults.StealsFromTheLate, "test_a_late_worker_owns_what_it_holds_until_a_sweep"),
        (owner_faults.NewestFirst, "test_the_longest_waiting_are_taken_first"),
        (owner_faults.NewestFirst, "test_suspects_of_one_trial_are_taken_with_the_one_that_waits_longest"),
        (owner_faults.TakesWithoutLooking, "test_each_wake_is_told_to_its_owner_once"),
        (owner_faults.TellsTwice, "test_each_wake_is_told_to_its_owner_once"),
        (owner_faults.PassesNobodyOver, "test_fences_of_some_tenants_may_be_passed_over"),
        (owner_faults.MixesTrials, "test_suspects_of_one_trial_are_taken_with_the_one_that_waits_longest"),
        (owner_faults.FreesWithoutRaising, "test_a_freed_fence_is_raised_and_woken"),
        (owner_faults.FreesWithoutWaking, "test_a_freed_fence_is_raised_and_woken"),
        (owner_faults.WaitsAnew, "test_a_freed_fence_goes_on_waiting_from_its_first_unseen_wake"),
        (owner_faults.SuspectsWhoeverLeft, "test_who_says_that_it_leaves_is_not_suspected_however_late"),
        (owner_faults.TriesAllAgain, "test_suspects_are_halved_until_the_guilty_one_is_alone"),
        (owner_faults.CountsEveryDeath, "test_suspects_are_halved_until_the_guilty_one_is_alone"),
        (owner_faults.TakesBeforeItIsDue, "test_a_row_is_taken_when_it_is_due_and_not_before"),
        (owner_faults.OneLimitForAll, "test_each_queue_has_its_own_limit"),
        (owner_faults.ClaimsBeginAnew, "test_a_claim_never_stands_for_two"),
        (owner_faults.BelievesOldClaims, "test_a_claim_never_stands_for_two"),
        (owner_faults.WithdrawsWhatWasBegun, "test_withdrawing_leaves_what_somebody_has_begun"),
        (owner_faults.ForgetsTheFirstTime, "test_an_entry_is_replaced_and_keeps_its_first_time"),
        (owner_faults.PagesWithTheLast, "test_a_list_comes_newest_first_in_pages"),
    ],
)
def test_a_backend_that_mistakes_its_owners_is_caught(fault: faults.Fault, test: str) -> None:
    catches(test, MemorySite(fault))


def _unlinked(previous: bytes, *rest: Any) -> bytes:
    from headwater.events.digest import link

    return link(bytes(32), *rest)


async def _only_hints(self: live.Live) -> None:
    """A watcher that believes hints and asks nobody."""
    while self._waiters:
        await self._backend.hints.wait(3600)
        self.saw((await self._backend.tail(0)).position)


async def _no_retry(self: group.GroupCommit, batch: Any) -> Any:
    return await self._flush([pending.prepared.call for pending in batch])


def _newest_first(self: group.GroupCommit) -> Any:
    batch = [self._queue.pop()]
    self._queued -= batch[0].prepared.weight
    return batch


@pytest.mark.parametrize(
    ("where", "name", "fault", "test"),
    [
        (rules, "link", _unlinked, "test_the_chain_is_what_it_is_said_to_be"),
        (rules, "link", _unlinked, "test_order_is_the_order_of_answers"),
        (live.Live, "_watch", _only_hints, "test_with_every_hint_lost_the_poll_finds_it"),
        (group.GroupCommit, "_settle", _no_retry, "test_an_unknown_outcome_is_settled_before_the_next_batch"),
        (group.GroupCommit, "_settle", _no_retry, "test_a_permanent_error_meets_only_its_author"),
        (group.GroupCommit, "_take", _newest_first, "test_what_arrives_during_a_flush_goes_with_the_next"),
        (verify, "check_event", lambda _: None, "test_every_change_of_history_is_found"),
        (
            transfer,
            "check_event",
            lambda _: None,
            "test_a_cut_off_or_altered_export_is_refused_and_nothing_is_imported",
        ),
    ],
)
def test_a_fault_in_what_is_above_the_backends_is_caught(
    where: Any, name: str, fault: Any, test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, fault)
    catches(test, MemorySite())


@pytest.mark.parametrize(
    "fault",
    [
        *(faults.SideRowsOfRefusedCalls, faults.ExpectationsFirst, faults.Forgetful),
        *(owner_faults.TellsTwice, owner_faults.ClaimsBeginAnew, owner_faults.CountsEveryDeath),
        owner_faults.FreesWithoutRaising,
    ],
)
def test_the_state_machine_catches(fault: faults.Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogContract, "settings", settings(LogContract.settings, phases=[Phase.generate]))
    catches("test_random_calls_agree_with_a_model_of_plain_lists", MemorySite(fault))


async def _restores_as_it_comes(lane: Any, source: Any, incarnation: Any, side: Any) -> int:
    """Each stretch of an import is a transaction of its own."""
    count = 0
    async for part in source:

        async def one(part: Any = part) -> Any:
            yield part

        count = count or await sqlite_restore.restore(lane, one(), incarnation, side)
    return count


def _passes_fences(row: Any, tenant: str, view: Any, judged: Any = rules._refuse_guard) -> Any:
    return None if isinstance(row, Fence) else judged(row, tenant, view)


SQLITE_FAULTS: list[tuple[Any, str, Any, str]] = [
    (rules, "link", _unlinked, "test_the_chain_is_what_it_is_said_to_be"),
    (sqlite_append.Appender, "_check_refused", lambda *_: None, "test_ids_are_looked_up_before_expectations"),
    (rules, "_refuse_guard", _passes_fences, "test_a_claim_and_a_stale_append_at_once_never_both_succeed"),
    (sqlite_append.Appender, "holder", lambda *_: None, "test_a_key_is_taken_once"),
    (
        sqlite_append,
        "transact",
        lambda connection, body: body(connection),
        "test_order_is_the_order_of_answers",
    ),
    (
        sqlite_backend,
        "restore",
        _restores_as_it_comes,
        "test_a_cut_off_or_altered_export_is_refused_and_nothing_is_imported",
    ),
]


@pytest.mark.parametrize(("where", "name", "fault", "test"), SQLITE_FAULTS)
def test_a_fault_in_sqlite_is_caught(
    where: Any, name: str, fault: Any, test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, fault)
    catches(test, SqliteSite(tmp_path))


LOCK = "pg_advisory_xact_lock(1214731852, shard)"
GENESIS = "decode(repeat('00', 32), 'hex')"
DRAWN = "nextval('headwater.drawn') - 1"


@pytest.mark.parametrize(
    ("function", "changes", "test"),
    [
        ("append", {LOCK: "now()"}, "test_writers_on_several_handles_and_readers_that_watch"),
        (
            "append",
            {LOCK: "now()", "SELECT coalesce(p.position, 0)": f"SELECT {DRAWN}"},
            "test_an_append_stuck_in_the_middle_is_never_overtaken",
        ),
        ("append", {"sha256(chain ||": f"sha256({GENESIS} ||"}, "test_the_chain_is_what_it_is_said_to_be"),
        (
            "judge",
            {"IF olds IS NOT NULL THEN": "IF false THEN"},
            "test_ids_are_looked_up_before_expectations",
        ),
        (
            "judge",
            {"CASE WHEN accepted[s.call] THEN s.kind END": "s.kind"},
            "test_a_refused_call_leaves_nothing",
        ),
        (
            "judge_side",
            {"FOR NO KEY UPDATE OF f": ""},
            "test_an_append_waits_for_a_claim_that_is_under_way_and_is_refused",
        ),
        (
            "apply_side",
            {"count(*) AS wakes": "1 AS wakes"},
            "test_side_rows_of_a_call_take_effect_in_their_order",
        ),
    ],
)
def test_a_fault_in_postgres_is_caught(
    function: str, changes: dict[str, str], test: str, postgres_template: Template
) -> None:
    for attempt in range(RACES):
        site = PostgresSite(postgres_template)
        try:
            plant(site, function, changes)
            catches(test, site)
            return
        except pytest.fail.Exception:
            if attempt == RACES - 1:
                raise
        finally:
            site.drop()


def plant(site: PostgresSite, function: str, changes: dict[str, str]) -> None:
    site.alter("CREATE SEQUENCE headwater.drawn")
    site.alter("GRANT USAGE ON SEQUENCE headwater.drawn TO headwater_worker")
    name = f"'headwater.{function}'::regproc"
    [found] = site.database.server.fetch(f"SELECT pg_get_functiondef({name})", database=site.database.name)
    code = found[0]
    for there, fault in changes.items():
        assert there in code, f"{function} no longer says {there!r}: plant the fault anew"
        code = code.replace(there, fault)
    site.alter(code)
