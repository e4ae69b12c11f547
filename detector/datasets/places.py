"""Paths and lists that files of a data set name, where any text may stand for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from detector.datasets.audit import Audit
from detector.datasets.listing import DataError
from detector.text_files import TextFileError, read_text

MAX_LIST = 2**28  # bytes of a file that lists images, of which there may be millions


def expanded(path: str, place: str) -> Path:
    """A path with `~` and `~user` as the folders they stand for.

    Args:
        path: As written.
        place: Where it is written, for errors.

    Raises:
        DataError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = path.split("/")[0]
        raise DataError(f"{place}: no user {user:.80}; allowed: a path, ~ for the folder of who runs this") from None


def is_there(path: Path, question: Callable[[Path], bool]) -> bool:
    """What a question such as `Path.is_file` answers; False for a path that no file can have."""
    try:
        return question(path)
    except (OSError, ValueError):  # a name too long, a NUL in it, a folder that may not be looked into
        return False


def text_lines(file: Path, audit: Audit, *, max_bytes: int = 2**24) -> list[str]:
    """Lines of a text file; none, and a problem noted, where it cannot be read.

    Args:
        file: The file.
        audit: Is told why it cannot be read.
        max_bytes: Largest size of such a file.
    """
    try:
        return read_text(file, max_bytes=max_bytes).splitlines()
    except TextFileError as error:
        audit.problem(file, None, f"not readable as text: {error}; allowed: UTF-8")
        return []
