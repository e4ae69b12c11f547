"""The command being run, as a person would type it again with other options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Mapping

# Commands that take what a study is changed by, and options with which the study keeps what it is stored with.
_CHANGING = ("run", "train", "ablate")
_KEEPING = ("--resume", "--name")


def typed_again(*, without: Collection[str] = ()) -> str:
    """The command line of this process with flags taken out, such as --dry-run."""
    return shlex.join(["evolve", *(word for word in sys.argv[1:] if word not in without)])


def typed_with(changes: Mapping[str, object]) -> str:
    """The command line of this process with options replaced or added; empty where it would be refused with them.

    Args:
        changes: Values by option, such as --updates; an option that is given already is replaced.
    """
    typed = sys.argv[1:]
    if not any(verb in _CHANGING for verb in typed[:1]) or any(_option(word) in _KEEPING for word in typed):
        return ""
    # Epochs and updates say the same thing in two ways.
    dropped = set(changes) | ({"--epochs"} if "--updates" in changes else set())
    kept, words = [], iter(typed)
    for word in words:
        if _option(word) not in dropped:
            kept.append(word)
        elif "=" not in word:
            next(words, None)
    added = [part for option, value in changes.items() for part in (option, str(value))]
    return shlex.join(["evolve", *kept, *added])


def _option(word: str) -> str:
    return word.partition("=")[0]
