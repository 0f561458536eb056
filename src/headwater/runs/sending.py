"""Sending a payload to whoever holds a token.

Promise. A payload is in the stream of the run that held the token at that moment, or an error says why not; with a
`key`, it is there once, however often and by however many it is sent.

Why it is right. Who holds the token is looked up without a lock, and the append is guarded by that very holder: if the
token has moved or was given back meanwhile, nothing is written and the look-up is done anew. The event's id comes from
the token and the key, not from the run, and ids are looked up before guards; so a sender that tries again after the
token has moved, or after the run has ended, finds its first payload and delivers none to the next holder.

Rejected: an id that is derived from the run's stream (the second try would count in the next run).
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from headwater.errors import (
    EventIdReused,
    FenceLost,
    HookNotFound,
    HookTooEarly,
    KeyNotHeld,
    RunFinished,
    RunNotFound,
)
from headwater.events.canonical import encode_json
from headwater.events.clock import to_us
from headwater.events.envelope import SPEC_VERSION_CURRENT, SPEC_VERSION_LEGACY, NewEvent, Recorded, Stream
from headwater.events.ids import derived_id
from headwater.events.names import check_id
from headwater.log.log import Log
from headwater.log.side import NeedKey, SideRow, Wake
from headwater.log.snapshots import Folder
from headwater.log.write import Appended, Write
from headwater.runs.events import HookReceived
from headwater.runs.protocol import check_spec, is_legacy, run_event
from headwater.runs.rows import HookPlace, fence_key, run_stream, spec_of_label, token_key
from headwater.runs.state import RUN_FOLD


class Sent(NamedTuple):
    """Where a payload went. `new`: this call wrote it; else an earlier one with the same key did."""

    run: str
    call: int
    new: bool
    appended: Appended


class Sender:
    """Sends payloads to the hooks of one log."""

    def __init__(self, log: Log, folder: Folder) -> None:
        self._log, self._folder = log, folder

    async def send(
        self, token: str, payload: Any, tenant: str, run: str | None, key: str | None, actor: str | None
    ) -> Sent:
        check_id("token", token)
        id = derived_id(Stream("hook", token, tenant), check_id("key", key)) if key is not None else None
        while True:
            place = await self._holder(token, tenant)
            if place is not None and run in {None, place.run}:
                sent = await self._deliver(token, place, payload, tenant, id, actor)
                if sent is not None:
                    return sent
                continue  # the token has moved
            if id is not None and (first := await self._first(tenant, id, payload)):
                return first
            if run is None:
                raise HookNotFound(token)
            place = await self._explain(token, run, tenant)
            if place is not None:
                return await self._write(place, payload, tenant, id, actor, legacy=True)

    async def _holder(self, token: str, tenant: str) -> HookPlace | None:
        wanted = token_key(token)
        held = await self._log.backend.keys(tenant, wanted, 1)  # a key comes before those that it begins
        return HookPlace.parse(held[0].holder) if held and held[0].key == wanted else None

    async def _deliver(
        self, token: str, place: HookPlace, payload: Any, tenant: str, id: UUID | None, actor: str | None
    ) -> Sent | None:
        """Write it if `place` still holds the token, else return None."""
        fences = await self._log.backend.fences(tenant, [fence_key(place.run)])
        spec = spec_of_label(fences[0].label) if fences else SPEC_VERSION_CURRENT
        check_spec(place.run, spec)
        try:
            return await self._write(place, payload, tenant, id, actor, token=token, legacy=is_legacy(spec))
        except KeyNotHeld:
            return None
        except FenceLost:
            legacy = await self._explain(token, place.run, tenant)
            return legacy and await self._write(legacy, payload, tenant, id, actor, legacy=True)

    async def _explain(self, token: str, run: str, tenant: str) -> HookPlace | None:
        """Say why a run does not take a payload. A place: it is a legacy run, which has no rows. None: look again."""
        state = (await self._folder.state(run_stream(run, tenant), RUN_FOLD)).state
        if state.version == 0:
            raise RunNotFound(run, tenant)
        if state.finished:
            raise RunFinished(run, state.status)
        calls = [
            call for call, hook in state.hooks.items() if hook.token == token and hook.status != "conflict"
        ]
        if not calls:
            raise HookTooEarly(token, run)
        if state.hooks[calls[-1]].status != "open":
            raise HookNotFound(token, run)
        if is_legacy(state.spec_version):
            return HookPlace(run, calls[-1])
        place = await self._holder(token, tenant)
        if place is None or place.run != run:
            raise HookNotFound(token, run)
        return None

    async def _write(
        self,
        place: HookPlace,
        payload: Any,
        tenant: str,
        id: UUID | None,
        actor: str | None,
        *,
        token: str | None = None,
        legacy: bool = False,
    ) -> Sent:
        """Append it: guarded by the token, unless the run is a legacy one."""
        guards: tuple[SideRow, ...] = ()
        if token is not None and not legacy:
            guards = (NeedKey(token_key(token), str(place)), Wake(fence_key(place.run), needed=True))
        event = NewEvent(
            event=HookReceived(call=place.call, payload=payload, actor=actor),
            id=id,
            run_id=place.run,
            actor=actor,
            spec_version=SPEC_VERSION_LEGACY if legacy else SPEC_VERSION_CURRENT,
        )
        try:
            [appended] = await self._log.append(Write(run_stream(place.run, tenant), [event], rows=guards))
        except EventIdReused:
            first = await self._first(tenant, id, payload) if id is not None else None
            if first is None:
                raise
            return first
        return Sent(place.run, place.call, not appended.known[0], appended)

    async def _first(self, tenant: str, id: UUID, payload: Any) -> Sent | None:
        """What an earlier call with the same key has written; a different payload is another fact."""
        found = await self._log.find(tenant, id)
        for recorded in found:
            event = run_event(await self._whole(recorded))
            if not isinstance(event, HookReceived) or _bytes(event.payload) != _bytes(payload):
                raise EventIdReused(id, recorded.position)
            at = to_us(recorded.recorded_at)
            place = Appended(recorded.stream, (recorded.version,), (recorded.position,), (True,), at)
            return Sent(recorded.stream.id, event.call, False, place)
        return None

    async def _whole(self, recorded: Recorded) -> Recorded:
        """The event with its payload, however large it is."""
        version = recorded.version
        if recorded.blob is not None:
            async for whole in self._log.stream(recorded.stream, from_version=version, to_version=version):
                return whole
        return recorded


def _bytes(payload: Any) -> bytes:
    return encode_json(payload, "payload")
