"""Every error has one exit code and one line."""

import json
from collections.abc import Iterator

import pytest
import typer

from headwater import errors
from headwater.cli.exits import Exit, NotThere, explain
from headwater.errors import HeadwaterError


def all_errors(of: type[HeadwaterError] = HeadwaterError) -> Iterator[type[HeadwaterError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from all_errors(kind)


GROUPS = {
    errors.Trouble: Exit.TROUBLE,
    errors.SettingRefused: Exit.USAGE,
    errors.SettingUnknown: Exit.USAGE,
    errors.Refused: Exit.REFUSED,
    errors.Conflict: Exit.REFUSED,
    errors.Undecodable: Exit.PROBLEM,
    errors.ChainBroken: Exit.PROBLEM,
    errors.NonDeterminismError: Exit.PROBLEM,
    errors.StepFailed: Exit.PROBLEM,
    errors.RunError: Exit.PROBLEM,
    errors.HookConflictError: Exit.PROBLEM,
    NotThere: Exit.REFUSED,
}


@pytest.mark.parametrize("kind", [k for k in all_errors() if k.__module__.startswith("headwater.")])
def test_every_error_has_its_groups_exit_code(
    kind: type[HeadwaterError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "It is\nso.")
    expected = next(code for group, code in GROUPS.items() if issubclass(kind, group))
    assert explain(error, as_json=False) == expected
    assert capsys.readouterr().err == "error: It is so.\n"
    explain(error, as_json=True)
    assert json.loads(capsys.readouterr().err) == {"error": kind.code, "message": "It is so."}


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    explain(HeadwaterError("Stream \x1b[2J is odd."), as_json=False)
    assert capsys.readouterr().err == "error: Stream \\x1b[2J is odd.\n"


def test_wrong_usage_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(typer.BadParameter("no"), as_json=True) == 2
    assert json.loads(capsys.readouterr().err)["error"] == "usage"


def test_a_defect_is_told_with_its_traceback_and_is_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("oh")
    assert explain(caught.value, as_json=False) == Exit.DEFECT != Exit.PROBLEM
    assert "Traceback" in capsys.readouterr().err
