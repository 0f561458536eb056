"""The suite as the author of another backend uses it: a site, a class, pytest without plugins."""

import subprocess
import sys
from pathlib import Path

MODULE = """
import pytest
from headwater.log.memory import MemoryBackend
from headwater.testing.contract import LogContract, Site

class ShelfSite(Site):
    name = "shelf"
    lacks = {
        name: "it is a shelf" for name in ("clock", "processes", "network", "sql", "hold", "elsewhere", "snapshot")
    }

    def __init__(self):
        self.shelf = MemoryBackend()

    def backend(self):
        return self.shelf

    def fresh(self):
        return ShelfSite()

class TestShelf(LogContract):
    @pytest.fixture
    def site(self):
        return ShelfSite()
"""


def test_another_backend_runs_the_suite_without_plugins(tmp_path: Path) -> None:
    (tmp_path / "test_shelf.py").write_text(MODULE)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:asyncio",
        "-p",
        "no:timeout",
        "-k",
        "key or stuck",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "shelf has no 'hold': it is a shelf" in done.stdout


def test_headwater_itself_imports_no_test_tools() -> None:
    code = (
        "import headwater, headwater.testing, sys; sys.exit(str({'pytest', 'hypothesis'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stderr.strip() == "set()"
