"""A short campaign of faults; the long one is `python -m benchmarks.faults`."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.campaign import CALLS, STORED, Fault, Setting, differences, disturbed, faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/evolve.db"


def is_ending(fault: Fault) -> bool:
    """Whether a fault ends a run: what is stopped goes on, and a trial that loses two workers in a row has failed."""
    return fault.signal is not signal.SIGSTOP and fault.target != "worker"


def assert_nothing_is_lost(folder: Path, setting: Setting, *, seed: int, calls: Sequence[str], most: int = 8) -> None:
    """Of a study under faults that come while it trains, however fast this machine is."""
    whole = folder / "whole"
    started = time.monotonic()
    undisturbed = disturbed(whole, setting, url_of(whole), iter(()), most=0)
    seconds = time.monotonic() - started

    # After the start, and so soon that several come before all is trained; sooner where the machine was busy with
    # something else while nothing disturbed the study, so that it is done before the first one.
    for latest in (0.6, 0.3, 0.15):
        killed = folder / f"killed-{latest}"
        chosen = faults(seed, calls=calls, within=(latest / 2 * seconds, latest * seconds))
        ending = filter(is_ending, chosen)  # of chosen calls too: those beside another are sent as signals
        found = disturbed(killed, setting, url_of(killed), ending, most=most)
        if found.faults:
            break

    assert found.faults
    assert found.problems == [] == undisturbed.problems
    if setting.is_repeatable:
        assert differences(url_of(killed), url_of(whole)) == []


@pytest.mark.parametrize("setting", [Setting(sampler="tpe", pruner="asha", workers=1)])
def test_a_study_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path: Path, setting: Setting) -> None:
    assert_nothing_is_lost(tmp_path, setting, seed=8, calls=CALLS)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(sampler="tpe", pruner="asha", workers=1, engine="serial", is_real=False),
        Setting(sampler="tpe", pruner="asha", workers=1, is_real=False),
        Setting(sampler="tpe", pruner="asha", workers=1, lanes=3, is_real=False),
        Setting(sampler="tpe", pruner="promotion", workers=1, is_real=False),
        Setting(sampler="random", pruner="median", workers=2, lanes=2, is_real=False),
    ],
    ids=lambda setting: setting.text,
)
def test_no_engine_loses_or_doubles_a_trial_under_faults(tmp_path: Path, setting: Setting) -> None:
    assert_nothing_is_lost(tmp_path, setting, seed=11, calls=STORED)


def test_faults_are_the_same_for_the_same_seed_and_their_calls_exist() -> None:
    first, again = (list(islice(faults(3), 50)) for _ in range(2))

    assert first == again and isinstance(first[0], Fault)
    for call in CALLS:
        module, _, path = call.partition(":")
        found = __import__(module, fromlist=["_"])
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found)
