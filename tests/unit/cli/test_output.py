"""What an event may put on a terminal."""

import json
import os

import pytest

from headwater.cli.output import OUT, plain, plain_lines, say_json


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]0;owned\x07",  # sets the window's title
        "\x1b[2J\x1b[31m",
        "\x9b31m",  # the same in one C1 character
        "a\rb\bc\x7f",
        "line\nbreak\ttab\0",
        "\u202egnp.exe",  # right to left
        "\u2028\u200b\ufeff",
        "\ud800",
    ],
)
def test_no_character_that_steers_a_terminal_gets_through(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert shown.encode("unicode_escape").decode().isascii()
    shown.encode()


def test_ordinary_text_of_any_language_is_left_alone() -> None:
    assert plain("Grüße, 世界 [bold red]not markup[/]") == "Grüße, 世界 [bold red]not markup[/]"


def test_lines_keep_their_breaks_and_nothing_else() -> None:
    assert plain_lines("a\n\x1bb\r\n") == "a\n\\x1bb\\r\n"


def test_json_is_ascii_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"evil": "\x1b\x7f\x9b\u202e\ud800"}
    say_json(value)
    printed = capsys.readouterr().out
    assert printed.removesuffix("\n").isprintable()
    assert printed.isascii()
    assert json.loads(printed) == value


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OUT.paint("x", "red") == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert OUT.paint("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert OUT.paint("x", "red") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert os.environ["TERM"] == "dumb"
    assert OUT.paint("x", "red") == "x"
