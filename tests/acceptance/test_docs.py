"""Every snippet in the documentation runs: see `session.py` for what the fences mean."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.session import matches, snippets

ROOT = Path(__file__).resolve().parents[2]
SESSION = Path(__file__).with_name("session.py")
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if any(snippet.language in ("python", "console") for snippet in snippets(page))
]


def run_session(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-W", "error", SESSION, page],
        cwd=folder,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    done = run_session(page, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```python\nx = 1\nawait nothing()\n```", "'nothing' is not defined"),
        ("```python notest\nx = = 1\n```", "invalid syntax"),
        ("```python\nx = 1\n```\ntext\n```python\nassert x == 2\n```", "assert x == 2"),
        ("```console\n$ headwater no-such-command\n```", "no-such-command"),
    ],
)
def test_a_page_that_is_wrong_fails(text: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    done = run_session(page, tmp_path)
    assert done.returncode != 0
    assert fault in done.stdout


def test_a_page_is_one_session_with_a_loop(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport asyncio\nawait asyncio.sleep(0)\nlock = asyncio.Event()\n```\n"
        "```python notest\nthis_is_not_run()\n```\n"
        "- in a list:\n\n  ```python\n  lock.set()\n  async with asyncio.timeout(1):\n      await lock.wait()\n  ```\n"
    )
    done = run_session(page, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        (["a", "b"], "a  \nb\n", True),
        (["a", "..."], "a\nb\nc\n", True),
        (["took ... ms"], "took 12 ms", True),
        (["a"], "a\nb", False),
        (["a...c"], "ab", False),
    ],
)
def test_output_is_compared_line_by_line(expected: list[str], output: str, same: bool) -> None:
    assert matches(expected, output) is same


def test_a_page_can_keep_a_file_and_end_what_it_began(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python file=tiny.py\nfrom headwater import Headwater\n\napp = Headwater('tiny')\n\n\n"
        "@app.workflow\nasync def nothing() -> None: ...\n```\n"
        "```console\n$ headwater worker tiny:app &\n$ headwater run start tiny:app nothing --id r-1\nr-1\n```\n"
        "```console until\n$ headwater run list\n...completed\n```\n"
        "```console\n$ kill -9 %1\n```\n"
    )
    done = run_session(page, tmp_path)
    assert done.returncode == 0, done.stdout
