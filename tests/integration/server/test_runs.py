"""Runs over HTTP: started, listed, looked at, ended, on every backend."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from headwater.errors import RunNotHeld
from tests.integration.server.listening import Place, events_of

API = "/api/v1"


async def started(place: Place, **asked: Any) -> httpx.Response:
    return await place.http.post(f"{API}/runs", json={"workflow": "fulfil", **asked})


async def test_a_run_is_started_and_its_result_waited_for(place: Place) -> None:
    answer = await started(place, input={"order": 7, "express": True}, attributes={"shop": "north"})
    assert answer.status_code == 201
    run = answer.json()["run"]
    result = await place.http.get(f"{API}/runs/{run}/result")
    assert result.json() == {
        "run": run,
        "status": "completed",
        "output": "charged 7",
        "error": None,
        "reason": None,
    }
    state = (await place.http.get(f"{API}/runs/{run}")).json()
    assert (state["status"], state["state"], state["attributes"]) == (
        "completed",
        "express",
        {"shop": "north"},
    )
    steps = (await place.http.get(f"{API}/runs/{run}/steps")).json()["steps"]
    assert [step["name"] for step in steps.values()] == ["charge"]
    lines = (await place.http.get(f"{API}/runs/{run}/timeline")).json()["timeline"]
    assert {line["kind"] for line in lines} == {"mark", "step"}


async def test_a_failure_is_a_result(place: Place) -> None:
    run = (await started(place, arguments=[-1])).json()["run"]
    result = (await place.http.get(f"{API}/runs/{run}/result")).json()
    assert result["status"] == "failed"
    assert result["error"]["message"] == "order -1 is below zero"


async def test_waiting_ends_before_the_run_does(place: Place) -> None:
    run = (await started(place, workflow="approve")).json()["run"]
    answer = await place.http.get(f"{API}/runs/{run}/result", params={"timeout": 0.2})
    assert answer.status_code == 202
    assert answer.json()["status"] in {"pending", "running"}


async def test_state_then_is_as_it_was(place: Place) -> None:
    run = (await started(place, input={"order": 1})).json()["run"]
    await place.http.get(f"{API}/runs/{run}/result")
    first = (await place.http.get(f"{API}/runs/{run}", params={"version": 1})).json()
    assert (first["status"], first["version"]) == ("pending", 1)
    events = (await place.http.get(f"{API}/runs/{run}/events", params={"limit": 1})).json()
    assert events["next"] == "1"
    at = events["events"][0]["recorded_at"]
    assert (await place.http.get(f"{API}/runs/{run}", params={"at": at})).json()["status"] == "pending"
    rest = (await place.http.get(f"{API}/runs/{run}/events", params={"after_version": 1})).json()
    assert rest["events"][-1]["type"] == "run_completed"


async def test_the_same_start_again_is_the_same_run(place: Place) -> None:
    key = {"idempotency-key": "order-9"}
    asked = {"workflow": "fulfil", "input": {"order": 9}}
    first, second = [await place.http.post(f"{API}/runs", json=asked, headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["run"] == second.json()["run"]
    other = await place.http.post(
        f"{API}/runs", json={"workflow": "fulfil", "input": {"order": 10}}, headers=key
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_with_a_key_is_started_once(place: Place) -> None:
    asked = {"runs": [{"workflow": "fulfil", "input": {"order": n}} for n in range(5)]}
    key = {"idempotency-key": "batch-1"}
    first, second = [
        (await place.http.post(f"{API}/runs/batch", json=asked, headers=key)).json()["runs"] for _ in range(2)
    ]
    assert [run["new"] for run in first] == [True] * 5
    assert [(run["run"], run["new"]) for run in second] == [(run["run"], False) for run in first]


async def test_wrong_starts_say_what_is_wrong(place: Place) -> None:
    unknown = await started(place, workflow="fulfill", input={})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "workflow_unknown")
    surplus = await started(place, input={"order": 1, "colour": "red"})
    assert (surplus.status_code, surplus.json()["code"]) == (422, "arguments_refused")
    assert "colour" in surplus.json()["detail"]
    wrong = await started(place, input={"order": "seven"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "payload_refused")
    missing = await started(place, input={})
    assert (missing.status_code, missing.json()["code"]) == (422, "arguments_refused")
    again = [await started(place, id="r-1", input={"order": n}) for n in (1, 2)]
    assert (again[1].status_code, again[1].json()["code"]) == (409, "run_id_reused")


async def test_the_list_is_paged_and_filtered(place: Place) -> None:
    runs = [(await started(place, input={"order": n})).json()["run"] for n in range(7)]
    for run in runs:
        await place.http.get(f"{API}/runs/{run}/result")
    waiting = (await started(place, workflow="approve")).json()["run"]
    seen: list[str] = []
    before: str | None = None
    while True:
        asked: dict[str, Any] = {"workflow": "fulfil", "status": "completed", "limit": 3}
        page = (
            await place.http.get(f"{API}/runs", params=asked | ({"before": before} if before else {}))
        ).json()
        seen += [run["run"] for run in page["runs"]]
        if (before := page["next"]) is None:
            break
    assert seen == runs[::-1]
    assert (await place.http.get(f"{API}/runs", params={"before": "nobody"})).status_code == 404
    newest = (await place.http.get(f"{API}/runs", params={"limit": 1})).json()["runs"]
    assert newest[0]["run"] == waiting


async def test_ids_may_hold_anything_printable(place: Place) -> None:
    id = "order/7?x=%2F&é#1"
    assert (await started(place, id=id, input={"order": 7})).json()["run"] == id
    path = f"{API}/runs/{_quoted(id)}"
    assert (await place.http.get(f"{path}/result")).json()["output"] == "charged 7"
    assert (await place.http.get(path)).json()["run"] == id


async def test_cancel_ends_a_run_and_again_changes_nothing(place: Place) -> None:
    run = (await started(place, workflow="approve")).json()["run"]
    for _ in range(2):
        answer = await place.http.post(f"{API}/runs/{run}/cancel", json={"reason": "not wanted"})
        assert answer.status_code == 200
    result = (await place.http.get(f"{API}/runs/{run}/result")).json()
    assert (result["status"], result["reason"]) == ("cancelled", "not wanted")
    done = (await started(place, input={"order": 1})).json()["run"]
    await place.http.get(f"{API}/runs/{done}/result")
    refused = await place.http.post(f"{API}/runs/{done}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "run_finished")


async def test_only_a_held_run_is_released(place: Place) -> None:
    run = (await started(place, workflow="approve")).json()["run"]
    refused = await place.http.post(f"{API}/runs/{run}/release")
    assert (refused.status_code, refused.json()["code"]) == (409, RunNotHeld.code)


async def test_hooks_are_listed_and_take_payloads_once(place: Place) -> None:
    run = (await started(place, workflow="approve", input={"token": "approve:1/a"})).json()["run"]
    async with asyncio.timeout(20):
        while not (
            found := (await place.http.get(f"{API}/hooks", params={"prefix": "approve:"})).json()["hooks"]
        ):
            pass
    assert found == [{"token": "approve:1/a", "run": run, "call": found[0]["call"]}]
    path, key = f"{API}/hooks/{_quoted('approve:1/a')}", {"idempotency-key": "mail-7"}
    first = await place.http.post(path, json={"payload": {"yes": True}}, headers=key)
    second = await place.http.post(path, json={"payload": {"yes": True}}, headers=key)
    assert (first.json()["new"], second.json()["new"]) == (True, False)
    reused = await place.http.post(path, json={"payload": {"yes": False}}, headers=key)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert (await place.http.get(f"{API}/runs/{run}/result")).json()["output"] == {"yes": True}
    gone = await place.http.post(path, json={"payload": 1})
    assert (gone.status_code, gone.json()["code"]) == (404, "hook_not_found")


async def test_what_is_not_there_is_a_404(place: Place) -> None:
    for path in (
        "runs/x",
        "runs/x/events",
        "runs/x/timeline",
        "runs/x/result",
        "streams/order/o-1",
        "nothing",
    ):
        answer = await place.http.get(f"{API}/{path}")
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_log_and_streams_are_read_in_pages(place: Place) -> None:
    run = (await started(place, input={"order": 1})).json()["run"]
    await place.http.get(f"{API}/runs/{run}/result")
    found: list[str] = []
    after: str | None = None
    while True:
        asked: dict[str, Any] = {"limit": 2, "stream_type": "run"} | ({"after": after} if after else {})
        page = (await place.http.get(f"{API}/log", params=asked)).json()
        if not page["events"]:
            break
        found += [event["event_id"] for event in page["events"]]
        after = page["next"]
    stream = (await place.http.get(f"{API}/streams/run/{run}")).json()["events"]
    assert found == [event["event_id"] for event in stream]
    one = (await place.http.get(f"{API}/log/events/{found[0]}")).json()
    assert one == stream[0]
    bad = await place.http.get(f"{API}/log", params={"after": "hw1.xxx"})
    assert (bad.status_code, bad.json()["code"]) == (410, "cursor_refused")


async def test_a_run_is_followed_to_its_end_and_taken_up_again(place: Place) -> None:
    run = (await started(place, workflow="approve", input={"token": "go"})).json()["run"]
    accept = {"accept": "text/event-stream"}
    seen: list[tuple[str, str]] = []
    async with place.http.stream("GET", f"{API}/runs/{run}/events", headers=accept) as answer:
        async for event in events_of(answer):
            seen.append((event["type"], event["sse_id"]))
            if event["type"] == "hook_created":
                break
    sent = await place.http.post(f"{API}/hooks/go", json={"payload": {"n": 1}})
    assert sent.status_code == 200
    again = accept | {"last-event-id": seen[-1][1]}
    async with place.http.stream("GET", f"{API}/runs/{run}/events", headers=again) as answer:
        async for event in events_of(answer):
            seen.append((event["type"], event["sse_id"]))
            if event["type"] == "run_completed":
                break
    stream = (await place.http.get(f"{API}/streams/run/{run}")).json()["events"]
    assert seen == [(event["type"], event["cursor"]) for event in stream]


async def test_the_list_and_the_log_are_followed(place: Place) -> None:
    accept = {"accept": "text/event-stream"}
    async with (
        place.http.stream("GET", f"{API}/runs", headers=accept) as runs,
        place.http.stream(
            "GET", f"{API}/log", params={"after": "head", "type": "run_completed"}, headers=accept
        ) as log,
    ):
        run = (await started(place, input={"order": 3})).json()["run"]
        async for event in events_of(runs):
            assert event["run"] == run
            if event["status"] == "completed":
                break
        async for event in events_of(log):
            assert (event["type"], event["stream_id"]) == ("run_completed", run)
            break


async def test_nobody_who_has_gone_is_remembered(place: Place) -> None:
    run = (await started(place, workflow="approve")).json()["run"]
    accept = {"accept": "text/event-stream"}
    for _ in range(3):
        async with place.http.stream("GET", f"{API}/runs/{run}/events", headers=accept) as answer:
            async for _event in events_of(answer):
                assert place.server.feeds.followers == 1
                break
        async with asyncio.timeout(10):
            while place.server.feeds.followers:
                await asyncio.sleep(0.01)


def _quoted(id: str) -> str:
    from urllib.parse import quote

    return quote(id, safe="")
