"""Other processes, with other hash seeds, addresses and moments of garbage collection, do the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.workflows import catalogue
from tests.unit.workflows.driver import Owner, at_random
from tests.unit.workflows.elsewhere import WAYS, plain, say_all


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_workflow_is_the_same_in_another_process(seed: int) -> None:
    histories: dict[str, object] = {}
    for workflow in catalogue.WORKFLOWS:
        for way in range(WAYS):
            owner = Owner(workflow, choose=at_random(way), payloads=catalogue.PAYLOADS).go()
            owner.execution.evict()
            histories[f"{workflow.name}/{way}"] = plain(owner.history())
    there = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.unit.workflows.elsewhere", str(seed)],
        input=json.dumps(histories),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    assert there.returncode == 0, there.stderr
    assert there.stderr == ""
    said = json.loads(there.stdout)
    assert {key: left for key, left in said["left"].items() if left} == {}
    here = say_all()
    for key, text in said["live"].items():
        assert text == here[key], key
