"""Given, when, then."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, assert_never

import pytest

from headwater import Event, Fold, NewEvent, RawEvent, Recorded
from headwater.testing.given import given

ROOT = Path(__file__).resolve().parents[3]


class Opened(Event):
    type: Literal["account_opened"] = "account_opened"
    owner: str


class Paid(Event):
    type: Literal["account_paid"] = "account_paid"
    amount: int
    note: str = ""


AccountEvent = Opened | Paid


@dataclass(frozen=True)
class Account:
    owner: str | None = None
    balance: int = 0


class NotOpen(Exception):
    pass


@dataclass(frozen=True)
class Pay:
    amount: int


def account(state: Account, event: AccountEvent) -> Account:
    match event:
        case Opened():
            return replace(state, owner=event.owner)
        case Paid():
            return replace(state, balance=state.balance + event.amount)
        case _:
            assert_never(event)


def pay(state: Account, command: Pay) -> list[AccountEvent]:
    if state.owner is None:
        raise NotOpen("no such account")
    return [Paid(amount=command.amount)] if command.amount else []


def test_a_fold_is_tested_with_events_and_nothing_else() -> None:
    given(account, Account()).events(Opened(owner="ada"), Paid(amount=3), Paid(amount=4)).then_state(
        Account("ada", 7)
    )


def test_a_command_is_tested_by_the_events_that_come_of_it() -> None:
    decided = given(account, Account()).events(Opened(owner="ada")).when(pay, Pay(5))
    decided.then(Paid(amount=5)).then_state(Account("ada", 5))
    given(account, Account()).events(Opened(owner="ada")).when(pay, Pay(0)).then()


def test_a_refusal_is_tested_and_given_back() -> None:
    error = given(account, Account()).when(pay, Pay(5)).then_raises(NotOpen)
    assert str(error) == "no such account"


def test_a_difference_shows_the_field() -> None:
    decided = given(account, Account()).events(Opened(owner="ada")).when(pay, Pay(5))
    with pytest.raises(AssertionError) as raised:
        decided.then(Paid(amount=6))
    lines = str(raised.value).splitlines()
    assert lines[0] == "The events differ (- expected, + found):"
    assert "-     amount=6," in lines
    assert "+     amount=5," in lines
    assert "      note=''," in lines


def test_a_state_that_differs_is_shown_field_by_field() -> None:
    with pytest.raises(AssertionError, match=r"(?s)state differs.*-     balance=1,\n\+     balance=2,"):
        given(account, Account()).events(Paid(amount=2)).then_state(Account(balance=1))


def test_a_missing_event_and_one_too_many_are_differences() -> None:
    opened = given(account, Account()).events(Opened(owner="ada"))
    with pytest.raises(AssertionError):
        opened.when(pay, Pay(5)).then()
    with pytest.raises(AssertionError):
        opened.when(pay, Pay(0)).then(Paid(amount=0))


def test_an_event_of_another_type_with_the_same_fields_is_a_difference() -> None:
    @dataclass(frozen=True)
    class A:
        x: int

    @dataclass(frozen=True)
    class B:  # noqa: PLW1641
        x: int

        def __eq__(self, other: object) -> bool:
            return True

    def nothing(state: int, _: object) -> int:
        return state

    with pytest.raises(AssertionError, match="The events differ"):
        given(nothing, 0).when(lambda _, __: [A(1)], None).then(B(1))


def test_an_unexpected_refusal_says_so_and_keeps_its_cause() -> None:
    decided = given(account, Account()).when(pay, Pay(5))
    with pytest.raises(AssertionError, match="NotOpen") as raised:
        decided.then(Paid(amount=5))
    assert isinstance(raised.value.__cause__, NotOpen)
    with pytest.raises(AssertionError, match="KeyError was expected, but the handler raised NotOpen"):
        decided.then_raises(KeyError)
    with pytest.raises(AssertionError, match=r"NotOpen was expected, but the handler gave no events"):
        given(account, Account()).events(Opened(owner="ada")).when(pay, Pay(0)).then_raises(NotOpen)


def test_a_fold_over_recorded_events_sees_an_envelope() -> None:
    def latest(state: list[str], recorded: Recorded) -> list[str]:
        event = recorded.event if recorded.type == "account_opened" else None
        what = event.owner if isinstance(event, Opened) else recorded.data
        return [*state, f"{recorded.position} {recorded.version} {recorded.actor} {what}"]

    fold = Fold[list[str]]("latest", list[str], [], latest)
    history = given(fold).events(NewEvent(event=Opened(owner="ada"), actor="bob"))
    assert history.state == ["1 1 bob ada"]
    more = history.when(lambda _, data: [RawEvent("noted", data)], {"n": 1})
    more.then(RawEvent("noted", {"n": 1})).then_state(["1 1 bob ada", "2 2 None {'n': 1}"])


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_type_checker_finds_wrong_events_commands_and_states(tmp_path: Path) -> None:
    program = tmp_path / "typed.py"
    program.write_text(
        "from headwater.testing.given import given\n"
        "from tests.unit.testing.test_given import Account, Opened, Paid, Pay, account, pay\n"
        "given(account, Account()).events(Opened(owner='a')).when(pay, Pay(1)).then(Paid(amount=1))\n"
        "given(account, Account()).events(Opened(owner='a')).then_state(Account())\n"
        "given(account, Account()).events(1)\n"
        "given(account, Account()).events(Opened(owner='a')).when(pay, 'pay')\n"
        "given(account, Account()).events(Opened(owner='a')).then_state(1)\n"
        "given(account, None)\n"
    )
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir",
            ROOT / ".mypy_cache",
            program,
        ],
        cwd=ROOT,
        env={"MYPYPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = {int(line.split(":")[1]) for line in said.stdout.splitlines() if "typed.py:" in line}
    assert wrong == {5, 6, 7, 8}, said.stdout
