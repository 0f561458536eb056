"""Frozen schemas: a model that changed its shape without an upcaster fails the build.

One file a type and version, `order_placed.v2.json`, is checked in. `check` compares them with the models at hand and
answers with what is wrong and how to mend it; `freeze` writes the files of versions that are new.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from headwater.events.model import Event, type_name
from headwater.events.registry import Registry

_PROSE = {"title", "description", "examples"}


def check(registry: Registry, folder: Path) -> list[str]:
    """What is wrong, a sentence each; empty when every model is as it was frozen."""
    problems: list[str] = []
    for model in registry:
        name, version = type_name(model), model.schema_version
        file = _file(folder, name, version)
        problems += [
            f"{name} has no upcaster from schema version {old}: add @registry.upcast({model.__qualname__}, "
            f"from_version={old})."
            for old in registry.missing_upcasters(model)
        ]
        if not file.exists():
            problems.append(f"{name} version {version} is not frozen: freeze it and check in {file.name}.")
        elif json.loads(file.read_text()) != shape(model):
            problems.append(
                f"{model.__qualname__} changed its shape, and events of version {version} are stored already: set "
                f"schema_version = {version + 1}, add an upcaster from {version}, and freeze it."
            )
    return problems


def freeze(registry: Registry, folder: Path) -> list[Path]:
    """Write the schema files that are missing; a frozen one is never overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for model in registry:
        file = _file(folder, type_name(model), model.schema_version)
        if not file.exists():
            file.write_text(json.dumps(shape(model), indent=2, sort_keys=True) + "\n")
            written.append(file)
    return written


def shape(model: type[Event]) -> Any:
    """A model's JSON schema as stored (serialised), without prose."""
    return _without_prose(model.model_json_schema(mode="serialization"))


def _without_prose(node: Any, *, named: bool = False) -> Any:
    if isinstance(node, list):
        return [_without_prose(item) for item in cast(Any, node)]
    if not isinstance(node, dict):
        return node
    return {
        key: _without_prose(value, named=key in {"properties", "$defs"})
        for key, value in cast(Any, node).items()
        if named or key not in _PROSE
    }


def _file(folder: Path, name: str, version: int) -> Path:
    return folder / f"{name.replace('/', '-').replace(':', '-')}.v{version}.json"
