"""The contract of snapshots: they save reading, are never truth, and losing or spoiling one costs nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from headwater.events.envelope import Recorded
from headwater.log.log import Log
from headwater.log.port import SnapshotRow
from headwater.log.snapshots import Fold, Folded, Folder
from headwater.log.transfer import export_lines, import_lines
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, write
from headwater.testing.contract.site import Site


def _add(state: list[int], event: Recorded) -> list[int]:
    return [*state, event.version]


SEEN: Fold[list[int]] = Fold("seen", list[int], [], _add)


async def load(log: Log, to_version: int | None = None, fold: Fold[list[int]] = SEEN) -> SnapshotRow | None:
    row = await log.backend.load_snapshot(ONE, fold.name, fold.version, to_version)
    return None if row is None else SnapshotRow(*row)


async def keep(log: Log, version: int, state: bytes, **changes: Any) -> SnapshotRow:
    """Save a snapshot by hand."""
    [event] = [event async for event in log.stream(ONE, from_version=version, to_version=version)]
    row = SnapshotRow(ONE, "seen", 1, version, event.chain, "json", state)._replace(**changes)
    await log.backend.save_snapshot(row, 2)
    return row


class SnapshotsContract:
    @behaviour()
    async def test_a_state_is_the_fold_of_its_events_with_or_without_snapshots(self, site: Site) -> None:
        async with site.open() as log:
            folder = Folder(log, every=3)
            for n in range(1, 15):
                await log.append(write(ONE), write(TWO))
                assert await folder.state(ONE, SEEN) == Folded(list(range(1, n + 1)), n)
                await folder.settled()
            for n in range(15):
                expected = Folded(list(range(1, n + 1)), n)
                assert await folder.state(ONE, SEEN, to_version=n) == expected
                assert await folder.state(ONE, SEEN, to_version=n, snapshots=False) == expected
            assert await folder.state(TWO, SEEN, to_version=0) == Folded([], 0)

    @behaviour()
    async def test_a_snapshot_is_taken_when_much_was_folded_and_then_used(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=20))
            folder = Folder(log)
            await folder.state(ONE, SEEN)
            await folder.settled()
            assert await load(log) is None
            await log.append(write(ONE))
            await folder.state(ONE, SEEN)
            await folder.settled()
            assert (await load(log) or SnapshotRow(ONE, "", 0, 0, b"", "", b"")).version == 21
            await keep(log, 21, b"[999]")
            assert (await folder.state(ONE, SEEN)).state == [999], "the snapshot is not used"
            shown: list[int] = []
            watching = await folder.state(ONE, SEEN, watch=lambda event, _: shown.append(event.version))
            assert watching.state == shown == list(range(1, 22))

    @behaviour()
    async def test_wrong_snapshots_are_passed_over(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=10), write(TWO, events=10))
            folder = Folder(log)
            truth = Folded(list(range(1, 11)), 10)
            await keep(log, 8, b"[999]", chain=bytes(32))
            assert await load(log) is None
            await keep(log, 8, b"[999]", fold_version=2)
            await keep(log, 9, b"not json")
            assert await folder.state(ONE, SEEN) == truth
            await keep(log, 9, b'{"another": "shape"}')
            assert await folder.state(ONE, SEEN) == truth
            await keep(log, 9, b"[999]", encoding="json+unheard-of")
            assert await folder.state(ONE, SEEN) == truth
            await keep(log, 9, b"[999]", stream=TWO)
            await keep(log, 9, b"[999]", name="another")
            assert await folder.state(ONE, SEEN, to_version=8) == Folded(list(range(1, 9)), 8)

    @behaviour()
    async def test_snapshots_after_the_wanted_version_or_time_are_passed_over(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=10))
            [first] = [event async for event in log.stream(ONE, limit=1)]
            await keep(log, 4, b"[4]")
            await keep(log, 8, b"[8]")
            assert ((await load(log)), (await load(log, 7)), await load(log, 3)) == (
                await load(log, 10),
                await load(log, 4),
                None,
            )
            folder = Folder(log)
            assert (await folder.state(ONE, SEEN, to_version=5)).state == [4, 5]
            assert (await folder.state(ONE, SEEN, to_version=3)).state == [1, 2, 3]
            before = first.recorded_at - timedelta(microseconds=1)
            assert (await folder.state(ONE, SEEN, until=before)).state == []
            assert (await folder.state(ONE, SEEN, until=first.recorded_at)).state == [8, 9, 10]

    @behaviour()
    async def test_old_snapshots_are_pruned(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=10))
            for version in (2, 4, 6, 8):
                await keep(log, version, b"[]")
            there = [row.version for n in range(1, 11) if (row := await load(log, n))]
            assert sorted(set(there)) == [6, 8]
            await keep(log, 8, b"[1]")
            assert (await load(log, 7) or SnapshotRow(ONE, "", 0, 0, b"", "", b"")).version == 6

    @behaviour()
    async def test_a_snapshot_of_another_history_is_passed_over(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=4))
            backup = [line async for line in export_lines(log)]
            await log.append(write(ONE, events=4))
            row = await keep(log, 8, b"[999]")
        async with site.fresh().open() as restored:
            await import_lines(restored, backup)
            await restored.append(write(TWO), write(ONE, events=4))
            await restored.backend.save_snapshot(row, 2)
            assert await load(restored) is None
            assert (await Folder(restored).state(ONE, SEEN)).version == 8

    @behaviour()
    async def test_folds_of_different_shapes_do_not_mix(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, events=30))
            folder = Folder(log)
            for n in range(40):
                counting: Fold[int] = Fold(f"count-{n}", int, 0, lambda state, _: state + 1)
                assert (await folder.state(ONE, counting)).state == 30
                listing = replace(SEEN, name=f"list-{n}")
                assert (await folder.state(ONE, listing)).state == list(range(1, 31))
                await folder.settled()
                assert (await folder.state(ONE, counting)).state == 30
