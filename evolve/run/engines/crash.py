"""From an exception in a training to a `Crashed` event."""

from __future__ import annotations

import errno

from evolve.run.engines.base import Crashed

_OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def crash_of(trial: int, error: BaseException, traceback: str) -> Crashed:
    """The event for a training that raised.

    A disk that is full or read-only stops every other trial too, so going on would only spend them.
    """
    text = " ".join(str(error).split())
    is_fatal = isinstance(error, OSError) and error.errno in _OUT_OF_ROOM
    return Crashed(trial=trial, reason=f"{type(error).__name__}: {text}", traceback=traceback, is_fatal=is_fatal)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or on the host; torch says the latter in the text of a RuntimeError."""
    is_named_so = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_named_so or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
