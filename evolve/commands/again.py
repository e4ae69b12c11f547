"""The command being run, as a person would type it again with other options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Mapping


def typed_again(*, without: Collection[str] = (), instead: Mapping[str, object] | None = None) -> str:
    """The command line of this process with options taken out, replaced or added.

    Args:
        without: Flags to leave out, such as --dry-run.
        instead: Values by option, such as --updates; an option that is given already is replaced.
    """
    replaced = dict(instead or {})
    # Epochs and updates say the same thing in two ways.
    dropped = set(replaced) | ({"--epochs"} if "--updates" in replaced else set())
    kept, words = [], iter(sys.argv[1:])
    for word in words:
        option, has_value = word.partition("=")[::2]
        if option in dropped:
            if not has_value:
                next(words, None)
        elif word not in without:
            kept.append(word)
    added = [part for option, value in replaced.items() for part in (option, str(value))]
    return shlex.join(["evolve", *kept, *added])
