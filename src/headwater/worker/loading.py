"""From `MODULE:APP` to an app, as a command is given it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from headwater.app import Headwater
from headwater.errors import DeclarationRefused


def load_app(where: str) -> Headwater:
    """Import an app; modules of the working directory are found, as with `python -m`."""
    name, _, attribute = where.partition(":")
    if not name or not attribute:
        raise DeclarationRefused(
            f"{where!r} names no app. Write MODULE:APP, as shop:app or shop.workflows:app."
        )
    module = _import(name)
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Headwater):
        return found
    apps = [f"{name}:{key}" for key, value in vars(module).items() if isinstance(value, Headwater)]
    fix = f"It has {', '.join(apps)}." if apps else f"Write `{attribute} = Headwater(...)` in it."
    what = f"no {attribute!r}" if found is None else f"{attribute!r}, but as a {type(found).__name__}"
    raise DeclarationRefused(f"Module {name!r} ({module.__file__}) has {what}. {fix}")


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise DeclarationRefused(
                f"There is no module {name!r} ({error.name!r} was looked for in {here} and on sys.path). "
                "Run this where it can be imported."
            ) from None
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> DeclarationRefused:
    """What the module's own code raised, with the line."""
    last = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<")][-1]
    place = f" ({last.filename}:{last.lineno})" if last.filename != __file__ else ""
    return DeclarationRefused(f"Module {name!r} cannot be imported: {type(error).__name__}: {error}{place}.")
