"""`make run` shows what it says, cleans up, and fails when a promise does not hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "log_demo.py"


def run_demo(program: str | Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-W", "error", program],
        env={
            **clean,
            "TMPDIR": str(temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(DEMO.parent),
        },
        cwd=temporary,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_holds_and_cleans_up(tmp_path: Path) -> None:
    done = run_demo(DEMO, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing acknowledged is lost: 6000 acknowledged events, 0 missing" in done.stdout
    assert "verify finds it: The chain breaks at position" in done.stdout
    assert "NO " not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_fails_where_retries_write_twice(tmp_path: Path) -> None:
    """The same demo, with tills that make new ids each time."""
    faulty = tmp_path / "faulty.py"
    faulty.write_text(
        DEMO.read_text()
        .replace("ORDERS = 1500", "ORDERS = 300")
        .replace("KILL_AFTER = 500", "KILL_AFTER = 100")
        .replace('id=derived_id(stream, "checkout", 0),', "")
        .replace('id=derived_id(stream, "checkout", 1)', "")
        .replace(", expect=NO_STREAM))", "))")
    )
    done = run_demo(faulty, tmp_path)
    assert done.returncode == 1, done.stdout
    assert "NO   nothing is written twice" in done.stdout
