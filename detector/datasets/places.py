"""Paths, lists and class names in files of a data set, where any text may stand for one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from detector.datasets.audit import Audit
from detector.datasets.listing import DataError
from detector.text_files import TextFileError, read_text

MAX_LIST = 2**28  # bytes of a file that lists images, of which there may be millions
MAX_LABELS = 2**22  # bytes of the labels of one image

_NOT_SHOWN = re.compile("[\0-\x1f\ud800-\udfff]")  # halves of surrogate pairs, which JSON can write, fit into no file
MAX_CLASSES = 20_000  # the largest public data sets have thirteen thousand


def check_classes(names: Collection[str], place: str) -> None:
    """Makes sure that texts can be the names of classes.

    Args:
        names: Class names to check.
        place: Where they are written, for errors.

    Raises:
        DataError: There are too many, or one has a character such as NUL that nobody sees.
    """
    if len(names) > MAX_CLASSES:
        raise DataError(f"{place}: {len(names):,} classes; allowed: up to {MAX_CLASSES:,}")
    if odd := [name for name in names if _NOT_SHOWN.search(name)]:
        raise DataError(f"{place}: {odd[0]!r:.80} has control characters; allowed: names that can be shown")


def expanded(path: str, place: str) -> Path:
    """A path with `~` and `~user` as the folders they stand for.

    Args:
        path: Text of the path as somebody wrote it.
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


def label_lines(file: Path, audit: Audit) -> list[str]:
    """Lines of a label file; none, and a problem noted, where it cannot be read."""
    try:
        return read_text(file, max_bytes=MAX_LABELS).splitlines()
    except TextFileError as error:
        audit.problem(file, None, f"not readable as text: {error}; allowed: UTF-8")
        return []


def list_lines(file: Path) -> list[str]:
    """Lines of a file that lists images or classes.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return read_text(file, max_bytes=MAX_LIST).splitlines()
    except TextFileError as error:
        raise DataError(f"{file}: not readable as text: {error}; allowed: UTF-8") from None


def both_there(files: Sequence[Path]) -> str:
    """That the first two of several files are there where one is meant, for errors."""
    return f"{files[0].name:.100} and {files[1].name:.100} are both there"


def class_list(file: Path) -> tuple[str, ...]:
    """Class names in a file that has one a line.

    Raises:
        DataError: It cannot be read, has no name or one twice, or one that cannot be a class.
    """
    names = tuple(line.strip() for line in list_lines(file) if line.strip())
    if not names or len(set(names)) < len(names):
        raise DataError(f"{file}: {list(names)!r:.80}; allowed: at least one class name a file, each once")
    check_classes(names, str(file))
    return names


def shown_classes(names: Sequence[str]) -> str:
    """The first ten class names, for errors."""
    return ", ".join(name[:40] for name in names[:10]) + (", ..." if len(names) > 10 else "")


def class_index(number: float, text: str, names: Sequence[str]) -> int:
    """The index of a class that is written as a number.

    Args:
        number: Value of the number.
        text: How it is written, for the error.
        names: Class names by index.

    Raises:
        ValueError: It is none of a class.
    """
    if not (number.is_integer() and 0 <= number < len(names)):
        raise ValueError(f"class {text:.80} is not known; allowed: 0 to {len(names) - 1} ({shown_classes(names)})")
    return int(number)
