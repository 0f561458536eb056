"""`log tail` and `log show`."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headwater import Log, RawEvent, Stream, Write
from tests.integration.cli.conftest import EVIL, PROGRAM, Command, environment
from tests.servers.postgres import Database


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_tail_prints_the_last_events_in_order(shop: Command) -> None:
    done = shop("log", "tail", "-n", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["4", "5"]
    assert "note_taken  default/note/n/1@1" in done.stdout


def test_an_event_cannot_steer_the_terminal_or_be_taken_for_markup(shop: Command) -> None:
    for arguments in (["log", "tail"], ["log", "show", "4"], ["log", "tail", "--json"]):
        done = shop(*arguments)
        assert done.returncode == 0
        assert all(line.isprintable() for line in done.stdout.splitlines())
        assert "[bold red]x[/]" in done.stdout


def test_tail_as_json_holds_all_of_an_event(shop: Command) -> None:
    done = shop("log", "tail", "--json")
    found = lines(done.stdout)
    assert [event["position"] for event in found] == [1, 2, 3, 4, 5]
    assert found[1]["run_id"] == "r-1"
    assert found[3]["data"] == {"text": EVIL}
    assert found[4]["blob"] is not None


FILTERS = (
    ("--type order_paid", [2]),
    ("--type order_paid --type order_placed", [1, 2]),
    ("--stream order", [1, 2, 3]),
    ("--stream note/n/1", [4]),
    ("--stream order/none", []),
    ("--tenant acme", [5]),
    ("--run r-1", [2]),
    ("--after 3", [4, 5]),
    ("--after 0 -n 2", [1, 2]),
    ("-n 0", []),
)


def test_tail_filters(shop: Command) -> None:
    for filters, positions in FILTERS:
        done = shop("log", "tail", "--json", *filters.split())
        assert done.returncode == 0, done.stderr
        assert [event["position"] for event in lines(done.stdout)] == positions, filters


def test_tail_goes_on_behind_a_cursor_that_it_printed(shop: Command) -> None:
    cursor = lines(shop("--json", "log", "tail").stdout)[2]["cursor"]
    found = lines(shop("log", "tail", "--json", "--after", cursor).stdout)
    assert [event["position"] for event in found] == [4, 5]


def test_a_cursor_of_another_log_is_refused(shop: Command) -> None:
    cursor = "hw1." + "A" * 78
    done = shop("log", "tail", "--after", cursor, "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert json.loads(done.stderr)["error"] == "cursor_refused"


def test_following_shows_what_is_appended_and_ends_with_ctrl_c(shop: Command) -> None:
    process = shop.start("log", "tail", "-f", "-n", "1", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["position"] == 5

    async def more(log: Log) -> None:
        await log.append(Write(Stream("order", "o-9"), [RawEvent("order_placed", {"cents": 1})]))

    shop.fill(more)
    assert json.loads(process.stdout.readline())["position"] == 6
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_sigterm_ends_quietly(shop: Command) -> None:
    process = shop.start("log", "tail", "-f", "-n", "1")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, b"", b"")


@pytest.mark.parametrize(("left", "said"), [("ConnectionError('lost')", b""), ("ValueError('odd')", b"odd")])
def test_sigterm_ends_quietly_also_while_a_connection_is_made(left: str, said: bytes) -> None:
    """Whoever drives the connection cannot hear of its loss any more; of anything else they are told."""
    program = (
        "import asyncio\n"
        "from headwater.cli.session import run\n"
        "async def work():\n"
        "    print('ready', flush=True)\n"
        "    try:\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        f"        asyncio.get_running_loop().create_future().set_exception({left})\n"
        "try:\n"
        "    run(work())\n"
        "except BaseException as error:\n"
        "    print(type(error).__name__)\n"
    )
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"Stopped\n")
    assert (said in err) if said else not err


def test_a_closed_pipe_ends_quietly(command: Command) -> None:
    async def fill(log: Log) -> None:
        for number in range(20):
            stream = Stream("order", f"o-{number}")
            await log.append(Write(stream, [RawEvent("order_placed", {"x": "x" * 900}) for _ in range(100)]))

    command.fill(fill)
    for arguments in (
        ["log", "tail", "--after", "0"],
        ["log", "export"],
        ["log", "show", "order/o-1", "--json"],
    ):
        process = command.start(*arguments)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        process.stderr.close()
        assert (process.wait(timeout=20), said) == (141, b""), arguments


def test_show_finds_an_event_by_position_and_by_id(shop: Command) -> None:
    by_position = lines(shop("log", "show", "2", "--json").stdout)
    assert [event["type"] for event in by_position] == ["order_paid"]
    by_id = lines(shop("log", "show", by_position[0]["event_id"], "--json").stdout)
    assert by_id == by_position


def test_show_fetches_large_payloads(shop: Command) -> None:
    [event] = lines(shop("log", "show", "5", "--json").stdout)
    assert len(event["data"]["hex"]) == 200_000
    [same] = lines(shop("log", "show", event["event_id"], "--tenant", "acme", "--json").stdout)
    assert same == event


STREAMS: tuple[tuple[str, list[int]], ...] = (
    ("order/o-1", [1, 2, 3]),
    ("default/order/o-1", [1, 2, 3]),
    ("order/o-1 --at-version 2", [1, 2]),
    ("order/o-1 --until 2999-01-01T00:00:00Z", [1, 2, 3]),
    ("note/n/1", [1]),
    ("note/n/1 --tenant default", [1]),
    ("acme/doc/d-1", [1]),
)
NOTHING = (
    "order/o-1 --until 2001-01-01T00:00:00Z",
    "order/none",
    "999",
    "0",
    "00000000-0000-7000-8000-000000000000",
    "nonsense",
)


def test_show_a_stream(shop: Command) -> None:
    for arguments, versions in STREAMS:
        done = shop("log", "show", *arguments.split(), "--json")
        assert done.returncode == 0, done.stderr
        assert [event["version"] for event in lines(done.stdout)] == versions, arguments


def test_show_says_when_there_is_nothing(shop: Command) -> None:
    for arguments in NOTHING:
        done = shop("log", "show", *arguments.split(), "--json")
        assert (done.returncode, done.stdout) == (3, ""), arguments
        assert json.loads(done.stderr)["error"] == "not_there"


def test_show_raw_is_what_is_stored(shop: Command) -> None:
    assert shop("log", "show", "order/o-1", "--raw").stdout.splitlines() == [
        '{"cents":700}',
        '{"cents":700}',
        '{"carrier":"x"}',
    ]


def test_a_time_without_zone_is_wrong_usage(shop: Command) -> None:
    done = shop("log", "show", "order/o-1", "--until", "2026-01-01")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no zone" in done.stderr


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal_only(shop: Command, variables: dict[str, str], coloured: bool) -> None:
    assert "\x1b" not in shop("log", "tail").stdout
    ours, theirs = pty.openpty()
    env = environment(HEADWATER_URL=shop.url, TERM="xterm", **variables)
    with subprocess.Popen([PROGRAM, "log", "show", "4"], env=env, cwd=shop.folder, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    assert (b"\x1b[1m" in shown) is coloured
    assert b"\x1b]0;" not in shown


def test_a_role_that_sees_one_tenant_must_name_it(postgres_database: Database, tmp_path: Path) -> None:
    worker = Command(tmp_path, postgres_database.worker_url)

    async def fill(log: Log) -> None:
        await log.append(Write(Stream("order", "o-1"), [RawEvent("order_placed", {})]))
        await log.append(Write(Stream("order", "o-1", "acme"), [RawEvent("order_placed", {})]))

    worker.fill(fill)
    server = Command(tmp_path, postgres_database.server_url)
    assert server("log", "tail").returncode == 3
    assert [e["position"] for e in lines(server("log", "tail", "--tenant", "acme", "--json").stdout)] == [2]
    assert [
        e["position"] for e in lines(server("log", "show", "2", "--tenant", "acme", "--json").stdout)
    ] == [2]
    assert server("log", "show", "1", "--tenant", "acme").returncode == 3
