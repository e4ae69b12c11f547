"""Whose weights a study keeps."""

from __future__ import annotations

from typing import Any

import pytest

from evolve.outcome.kept import drops_weights
from evolve.study import Study

SEARCH: dict[str, Any] = {"space": {"lr0": {"low": 0.01, "high": 0.1}}, "budget": {"trials": 8}}


def study_of(raw: dict[str, Any]) -> Study:
    return Study.from_mapping({"name": "kept", "data": "digits-3", "epochs": 8} | raw, origin="test")


def dropped(study: Study, verdicts: list[str], best: int) -> list[int]:
    ended = dict(enumerate(verdicts))
    return [number for number in ended if drops_weights(study, number, ended, is_exportable=number == best)]


@pytest.mark.parametrize("verdict", ["converged", "undertrained", "worsened", "partial", "pruned"])
def test_what_the_best_has_beaten_is_dropped_unless_all_weights_are_kept(verdict: str) -> None:
    assert dropped(study_of(SEARCH), ["converged", verdict], best=0) == [1]
    assert dropped(study_of(SEARCH | {"keep_weights": "all"}), ["converged", verdict], best=0) == []


@pytest.mark.parametrize("verdict", ["paused", "doomed", "diverged", "failed"])
def test_the_way_back_from_divergence_and_what_waits_is_kept(verdict: str) -> None:
    assert dropped(study_of(SEARCH), ["converged", verdict], best=0) == []


def test_a_member_is_kept_until_the_next_generation_has_ended() -> None:
    members = study_of(SEARCH | {"sampler": "pbt", "pbt": {"members": 2, "interval": 2}})

    assert dropped(members, ["partial"] * 3, best=2) == []
    assert dropped(members, ["partial"] * 4, best=2) == [0, 1]
