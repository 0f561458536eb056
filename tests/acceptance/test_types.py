"""What type checkers must refuse, of what users write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RIGHT = """
from headwater.pipelines import register_pipeline
from headwater.projections.open import store_for
from tests.integration.pipelines.accounts import Balance, Drawn, Paid, fold

begun = register_pipeline((Paid, Drawn), Balance)
ready = begun.with_name("a").with_aggregate_type("b").with_projection_store(store_for)
pipeline = ready.with_event_handler(fold).build()
reveal: Balance = pipeline.folded([Paid(cents=1)])
"""
WRONG = {
    "no name": RIGHT.replace('.with_name("a")', ""),
    "no aggregate type": RIGHT.replace('.with_aggregate_type("b")', ""),
    "no store": RIGHT.replace(".with_projection_store(store_for)", ""),
    "no handler": RIGHT.replace(".with_event_handler(fold)", ""),
    "a handler of other events": RIGHT.replace("(Paid, Drawn), Balance", "(Paid, Other), Balance").replace(
        "begun =", "from headwater import Event\n\nclass Other(Event):\n    pass\n\n\nbegun ="
    ),
    "a state of another type": RIGHT.replace("reveal: Balance", "reveal: int"),
}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_refuse_a_pipeline_with_a_part_left_out(tmp_path: Path, checker: str) -> None:
    """One run of each checker over all of them: what is right passes, and every wrong one is named."""
    (tmp_path / "right.py").write_text(RIGHT)
    names = {f"wrong{n}.py": text for n, text in enumerate(WRONG.values())}
    for name, text in names.items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("right.py", *names)]
    program = Path(sys.executable).with_name(checker)
    options = ["--strict", "--no-incremental"] if checker == "mypy" else []
    done = subprocess.run([program, *options, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if "error" in line and ".py:" in line]
    assert not [line for line in errors if "right.py" in line], done.stdout
    for name, what in zip(names, WRONG, strict=True):
        assert [line for line in errors if name in line], f"{checker} passes a pipeline with {what}"
