"""Folders for what Ray and Tune leave behind, gone with the process that made them, even where that was killed."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows, where nothing is swept
    fcntl = None  # type: ignore[assignment]

_PREFIX = "evolve-ray-"
# Sockets lie in there, and the path of one may have 107 characters.
_PARENT = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108
_LOCK = "lock"
# A folder without a lock has just been made, or was written to after it had been removed.
_LONG_SECONDS = 600.0
# Open as long as this process lives, and not inherited: a lock that can be taken is that of a dead one.
_HELD: dict[Path, object] = {}


def own_folder() -> Path:
    """A new folder of this process; those of processes that are dead are removed."""
    for old in _PARENT.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if _is_abandoned(old):
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PARENT))
    lock = (folder / _LOCK).open("w")
    if fcntl is not None:
        fcntl.flock(lock, fcntl.LOCK_EX)
    _HELD[folder] = lock
    return folder


def drop(folder: Path) -> None:
    """Removes a folder of this process; what Ray's processes still write as they end is left to the next sweep."""
    shutil.rmtree(folder, ignore_errors=True)
    lock = _HELD.pop(folder, None)
    if lock is not None:
        lock.close()  # type: ignore[attr-defined]


def _is_abandoned(folder: Path) -> bool:
    if fcntl is None or folder in _HELD:
        return False
    if not (folder / _LOCK).exists():
        return time.time() - folder.stat().st_mtime > _LONG_SECONDS
    with (folder / _LOCK).open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
