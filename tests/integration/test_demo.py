"""`make run` and `make log-demo` show what they say, clean up, and fail when a promise does not hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEMO = EXAMPLES / "log_demo.py"
ORDERS = EXAMPLES / "order_demo"


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
def test_a_workflow_whose_worker_is_killed_goes_on(tmp_path: Path) -> None:
    done = run_demo(ORDERS / "demo.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "render the label           asked 2 times, with the same key; recorded once" in done.stdout
    assert done.stdout.count("recorded once") == 4
    assert "  hook approve:7 " in done.stdout
    assert " cut off\n" in done.stdout
    assert "NO" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_of_a_workflow_fails_where_a_key_is_not_stable(tmp_path: Path) -> None:
    """The same demo, with steps that make a new key on each attempt."""
    faulty = tmp_path / "faulty"
    faulty.mkdir()
    for name in ("app.py", "demo.py"):
        text = (ORDERS / name).read_text()
        (faulty / name).write_text(text.replace('"key": step.key,', '"key": f"{step.key}#{step.attempt}",'))
    done = run_demo(faulty / "demo.py", tmp_path)
    assert done.returncode == 1, done.stdout
    assert "NO   every step has one result" in done.stdout


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


@pytest.mark.slow
def test_make_run_shows_something_within_ten_seconds(tmp_path: Path) -> None:
    """Without a terminal, and stopped after a while."""
    program = EXAMPLES / "up_demo" / "run.py"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    done = subprocess.run(
        [sys.executable, program, "--seconds", "10"],
        env={**clean, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "look at it   http://127.0.0.1:" in done.stdout
    assert "four orders are under way" in done.stdout
    assert done.stdout.endswith("stopped\n")
