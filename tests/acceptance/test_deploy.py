"""The files to deploy with are parsed, since they cannot be run here: every command, port, path and metric is ours."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from configparser import RawConfigParser
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from headwater.cli.program import app
from headwater.engine.counting import Counts
from headwater.settings import Settings
from headwater.worker import telling

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PORTS = {
    Settings().server_port: {"/healthz", "/readyz"},
    Settings().metrics_port: {"/metrics", "/healthz", "/readyz"},
}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of ours in the files."""
    for file in sorted(DEPLOY.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            for found in _lists(document, {"args", "command"}):
                yield file.name, found
    for file in sorted(DEPLOY.rglob("*.service")):
        yield file.name, shlex.split(unit(file)["Service"]["ExecStart"])[1:]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    yield "Dockerfile", json.loads(re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)[0])


def unit(file: Path) -> RawConfigParser:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file.read_text())
    return parser


def _lists(node: Any, names: set[str]) -> Iterator[list[str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in names and isinstance(value, list):
                yield value
            else:
                yield from _lists(value, names)
    elif isinstance(node, list):
        for value in node:
            yield from _lists(value, names)


def test_every_command_is_one_of_ours_with_options_that_it_has() -> None:
    group = typer.main.get_command(app)
    found = list(commands())
    assert {line[0] for _, line in found} == {"up", "serve", "worker", "migrate"}
    for file, line in found:
        command = group.get_command(None, line[0])  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {one for one in line if one.startswith("--")} <= known, (file, line)


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("*.yaml")), ids=lambda file: file.name)
def test_every_variable_port_and_path_is_ours(file: Path) -> None:
    text = file.read_text()
    variables = set(re.findall(r"HEADWATER_[A-Z_]+", text))
    assert variables <= {f"HEADWATER_{field.name.upper()}" for field in fields(Settings)}
    for port, path in re.findall(r":(\d{4})(/[a-z]+)", text):
        assert path in PORTS[int(port)], (port, path)
    for document in yaml.safe_load_all(text):
        ports = {
            port["name"]: port["containerPort"]
            for port in _find(document, "ports")
            if "containerPort" in port
        }
        for probe in ("livenessProbe", "readinessProbe"):
            for asked in _find(document, probe):
                assert asked["httpGet"]["path"] in PORTS[ports[asked["httpGet"]["port"]]]


def _find(node: Any, name: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name:
                yield from value if isinstance(value, list) else [value]
            else:
                yield from _find(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _find(value, name)


def test_a_worker_has_longer_to_stop_than_its_steps() -> None:
    for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "worker.yaml").read_text()):
        for args in _lists(document, {"args"}):
            [seconds] = list(_find(document, "terminationGracePeriodSeconds"))
            assert seconds > float(args[args.index("--grace") + 1])
    service = unit(DEPLOY / "systemd" / "headwater-worker.service")["Service"]
    line = shlex.split(service["ExecStart"])
    assert float(service["TimeoutStopSec"]) > float(line[line.index("--grace") + 1])


def test_every_metric_of_the_dashboard_is_told() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "headwater.json").read_text())
    counts = Counts()
    families = [one.family for one in (counts.claimed, counts.ended, counts.seconds)]
    families += [value for value in vars(telling).values() if isinstance(value, telling.Family)]
    told = {family.name for family in families}
    for target in _find(dashboard, "targets"):
        for name in re.findall(r"headwater_\w+", target["expr"]):
            assert re.sub(r"_(bucket|count)$", "", name) in told, name


def test_what_ends_it_in_containers_is_what_it_listens_to() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "STOPSIGNAL SIGTERM" in text
    assert 'ENTRYPOINT ["headwater"]' in text
    assert "USER headwater" in text
