"""A folder for the decoded images of one run, which its processes share; it goes when the run ends, or with the next.

Beside each folder lies a file that its run keeps locked. The system unlocks it however the run ends, so what a killed
run left behind is told from what a living one uses, also where two databases have studies of one name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import IO

_PREFIX, _LOCK = "pictures-", ".lock"


@contextmanager
def picture_folder(parent: Path) -> Iterator[Path | None]:
    """A new folder for as long as the block runs; None where none can be made, since a run can do without.

    Args:
        parent: Folder of a study. It is made where it is missing, and removed again if nothing else came there.
    """
    with ExitStack() as at_end:
        if not parent.exists():
            at_end.callback(_remove_empty, parent)
        remove_left_behind(parent)
        try:
            folder = _made(parent.absolute(), at_end)
        except OSError:
            folder = None
        yield folder


def _made(parent: Path, at_end: ExitStack) -> Path:
    """A new folder that nobody else may read, its lock held and both removed at the end.

    Raises:
        OSError: It cannot be made or locked.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number, name = mkstemp(prefix=_PREFIX, suffix=_LOCK, dir=parent)
    lock = Path(name)
    at_end.callback(_remove, lock)
    _take(at_end.enter_context(os.fdopen(number, "r+b")))
    folder = _beside(lock)
    folder.mkdir(mode=0o700)
    return folder


def _take(opened: IO[bytes]) -> None:
    """Locks a file until it is closed.

    Raises:
        OSError: Another process has it locked, or nobody can lock it here.
    """
    try:
        import fcntl
    except ImportError as error:
        raise OSError("this system has no locks that end with their process") from error
    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


def left_behind(parent: Path) -> list[Path]:
    """Folders of runs that are over, below the folder of a study."""
    found = []
    for lock in sorted(parent.glob(f"{_PREFIX}*{_LOCK}")):
        with suppress(OSError), lock.open("r+b") as opened:
            _take(opened)
            found.append(_beside(lock))
    return found


def remove_left_behind(parent: Path) -> None:
    """Removes the folders of runs that are over."""
    for lock in list(parent.glob(f"{_PREFIX}*{_LOCK}")):
        with suppress(OSError), lock.open("r+b") as opened:
            _take(opened)
            _remove(lock)


def _remove(lock: Path) -> None:
    shutil.rmtree(_beside(lock), ignore_errors=True)
    with suppress(OSError):
        lock.unlink()  # last: without it nobody would know of the folder


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _beside(lock: Path) -> Path:
    return lock.with_name(lock.name.removesuffix(_LOCK))
