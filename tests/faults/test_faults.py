"""A short campaign of faults; the long one is `python -m benchmarks.faults`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.faults.campaign import CALLS, STORED, Fault, Setting, differences, disturbed, faults, write_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/evolve.db"


@pytest.mark.parametrize("setting", [Setting(sampler="tpe", pruner="asha", workers=1)])
def test_a_study_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path: Path, setting: Setting) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        write_study(folder, setting)

    found = disturbed(killed, setting, url_of(killed), faults(8), most=8)
    undisturbed = disturbed(whole, setting, url_of(whole), iter(()), most=0)

    assert len(found.faults) >= 4
    assert found.problems == [] == undisturbed.problems
    assert differences(url_of(killed), url_of(whole)) == []


@pytest.mark.parametrize(
    "setting",
    [
        Setting(sampler="tpe", pruner="asha", workers=1, engine="serial", is_real=False),
        Setting(sampler="tpe", pruner="asha", workers=1, is_real=False),
        Setting(sampler="tpe", pruner="asha", workers=1, lanes=3, is_real=False),
        Setting(sampler="random", pruner="median", workers=2, lanes=2, is_real=False),
    ],
    ids=lambda setting: setting.text,
)
def test_no_engine_loses_or_doubles_a_trial_under_faults(tmp_path: Path, setting: Setting) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    found = disturbed(killed, setting, url_of(killed), faults(11, calls=STORED, longest=3.0), most=8)
    undisturbed = disturbed(whole, setting, url_of(whole), iter(()), most=0)

    assert len(found.faults) >= 3
    assert found.problems == [] == undisturbed.problems
    if setting.is_repeatable:
        assert differences(url_of(killed), url_of(whole)) == []


def test_faults_are_the_same_for_the_same_seed_and_their_calls_exist() -> None:
    first, again = (list(islice(faults(3), 50)) for _ in range(2))

    assert first == again and isinstance(first[0], Fault)
    for call in CALLS:
        module, _, path = call.partition(":")
        found = __import__(module, fromlist=["_"])
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found)
