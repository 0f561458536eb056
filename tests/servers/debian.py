"""Server programs from the PATH, or from Debian's packages.

A package is unpacked (not installed) into `.cache`, with the shared libraries that the machine lacks.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import ServerFailed, runnable

CACHE = Path(__file__).resolve().parents[2] / ".cache"


def find_program(path: str, *packages: str) -> tuple[Path, tuple[str | Path, ...]]:
    """A program at `path` of packages, and what a command with it begins with, so that it finds its libraries."""
    name = Path(path).name
    if installed := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return Path(installed), ()
    folder = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not (folder / "complete").exists():
            _unpack_all(folder, packages)
    tree = runnable(folder, path, ["usr"])
    libraries = sorted({str(library.parent) for library in tree.glob("usr/lib/**/*.so*")})
    return tree / path, ("env", f"LD_LIBRARY_PATH={':'.join(libraries)}")


def _unpack_all(folder: Path, packages: tuple[str, ...]) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise ServerFailed(
            f"There is no {folder.name} on the PATH and this is not Debian: install {packages[0]}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    downloads = folder / "packages"
    downloads.mkdir(parents=True)
    wanted, seen = list(packages), set(packages)
    while wanted:
        package = wanted.pop()
        _unpack(package, folder, downloads)
        needed = subprocess.run(
            ["apt-cache", "depends", package], capture_output=True, text=True, check=True
        ).stdout
        for line in needed.splitlines():
            kind, _, library = line.strip().partition(": ")
            if kind == "Depends" and library.startswith("lib") and library not in seen:
                seen.add(library)
                if not _installed(library):
                    wanted.append(library)
    (folder / "complete").touch()


def _installed(package: str) -> bool:
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
    )
    return status.stdout.endswith(" installed")


def _unpack(package: str, folder: Path, downloads: Path) -> None:
    got = subprocess.run(
        ["apt-get", "download", package], cwd=downloads, capture_output=True, text=True, check=False
    )
    files = list(downloads.glob(f"{package}_*.deb"))
    if got.returncode != 0 or not files:
        raise ServerFailed(
            f"Could not download the package {package} (install it, or run apt-get update):\n{got.stderr}"
        )
    subprocess.run(["dpkg", "-x", files[0], folder], check=True)
