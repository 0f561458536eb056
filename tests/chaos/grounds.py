"""Where processes die: two databases, or a folder, for each process that may die at the same time as others."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.servers.postgres import WORKER, Database, Template

SQLITE = "headwater.testing.crash_points.sqlite:SqliteStage"
POSTGRES = "headwater.testing.crash_points.postgres:PostgresStage"
MEMORY = Path("/dev/shm")


def fast_folder(otherwise: Path) -> Path:
    """A folder in memory where there is one: a killed process leaves no more in the page cache than on a disk."""
    return Path(mkdtemp(prefix="headwater-crash-points-", dir=MEMORY)) if MEMORY.is_dir() else otherwise


def postgres_ground(template: Template) -> dict[str, Any]:
    """Two databases, with the program's table."""
    databases = {name: Database.create(template.server, template) for name in ("main", "copy")}
    for database in databases.values():
        template.server.fetch("CREATE TABLE public.notes (text TEXT)", database=database.name)
        template.server.fetch(f'GRANT SELECT, INSERT ON public.notes TO "{WORKER}"', database=database.name)
    return {
        "urls": {name: database.worker_url for name, database in databases.items()},
        "admin": {name: database.admin_url for name, database in databases.items()},
    }


def drop(template: Template, ground: dict[str, Any]) -> None:
    for url in ground["urls"].values():
        template.server.drop_database(url.rpartition("/")[2])
