"""Kills a process at a chosen call; on the path of the processes of a campaign, and of nothing else.

FAULT is `module:Class.method:count:before` (or `after`), and FAULT_MARK a file that says that it has happened: the
first process that makes that many calls of the method ends itself there, as `kill -9` would, and no other one does.
"""

import functools
import importlib.abc
import importlib.util
import os
import signal
import sys
from pathlib import Path

module_name, _, rest = os.environ.get("FAULT", "").partition(":")
path, _, rest = rest.partition(":")
count, _, moment = rest.partition(":")


def end(number):
    mark = Path(os.environ["FAULT_MARK"])
    if number >= int(count) and not mark.exists():
        mark.touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)


def faulty(function):
    calls = 0

    @functools.wraps(function)
    def wrapped(*arguments, **options):
        nonlocal calls
        calls += 1
        if moment == "before":
            end(calls)
        result = function(*arguments, **options)
        if moment == "after":
            end(calls)
        return result

    return wrapped


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the function when its module has been loaded."""

    def find_spec(self, name, location=None, target=None):
        if name != module_name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            *owners, last = path.split(".")
            owner = functools.reduce(getattr, owners, module)
            setattr(owner, last, faulty(getattr(owner, last)))

        spec.loader.exec_module = exec_module
        return spec


if module_name:
    sys.meta_path.insert(0, Finder())
