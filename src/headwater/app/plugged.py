"""Domains of installed packages: entry points of the group `headwater.domains`, each naming a `Domain`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from headwater.app.domain import Domain
from headwater.app.program import Headwater
from headwater.errors import DeclarationRefused

GROUP: Final = "headwater.domains"


def plugged_domains() -> list[Domain]:
    """The domains of all installed packages, by name."""
    return sorted((_load(point) for point in entry_points(group=GROUP)), key=lambda domain: domain.name)


def plugged_app() -> Headwater:
    """An app of those domains and nothing else: what runs where no app is named."""
    app = Headwater("headwater")
    for domain in plugged_domains():
        app.include(domain)
    return app


def _load(point: EntryPoint) -> Domain:
    where = f"Entry point {point.name!r} of group {GROUP!r} ({point.value})"
    try:
        found: object = point.load()
    except Exception as error:
        raise DeclarationRefused(
            f"{where} cannot be imported: {type(error).__name__}: {error}. Mend or uninstall the package that has it."
        ) from error
    if not isinstance(found, Domain):
        raise DeclarationRefused(f"{where} is a {type(found).__name__}. It must name a Domain.")
    return found
