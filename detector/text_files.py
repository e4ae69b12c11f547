"""Text files that people write: UTF-8, no larger than such a file can be, and a sentence where one cannot be read."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 2**20


class TextFileError(Exception):
    """A file cannot be read as text; the message says why, and its caller which file."""


def printable(text: str) -> str:
    """The text with a question mark for each letter that a terminal would obey or cannot show, as names may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Content of a text file, without a byte order mark.

    Args:
        path: File to read.
        max_bytes: Largest size of the file in bytes; of a larger one a byte more than that is read.

    Raises:
        TextFileError: It is not there, larger, or not UTF-8.
    """
    data = read_bytes(path, max_bytes=max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextFileError(f"is not text in UTF-8 (byte {error.start}, line {line})") from None


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """Content of a file.

    Args:
        path: File to read.
        max_bytes: Largest size of the file in bytes; of a larger one a byte more than that is read.

    Raises:
        TextFileError: It is not there, or larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise TextFileError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the path
        raise TextFileError(f"cannot be read: {error}") from None
    if len(data) > max_bytes:
        raise TextFileError(f"is larger than {max_bytes:,} bytes, which is the most such a file may have")
    return data
