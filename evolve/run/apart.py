"""Work done in a process of its own, whose memory is free again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from evolve.errors import EvolveError
from evolve.run.engines.processes import CONTEXT

Done = TypeVar("Done")


def apart(work: Callable[..., Done], *arguments: Any) -> Done:
    """The value that a function returns when it is called in a process of its own.

    Args:
        work: Function to call; it can be pickled, and so can its arguments and what it returns.
        arguments: Positional arguments that the function is called with.

    Raises:
        EvolveError: The function raised an exception, which the text names, or its process died.
    """
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send, args=(theirs, work, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        done, problem = ours.recv()
    except EOFError:
        process.join()
        done, problem = None, f"its process died with exit code {process.exitcode}"
    process.join()
    if problem:
        raise EvolveError(problem)
    result: Done = done
    return result


def _send(pipe: Any, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send((work(*arguments), ""))
    except Exception as error:
        pipe.send((None, f"{type(error).__name__}: {error}"))
