"""What `evolve show` says of how well rungs foretell the end."""

from __future__ import annotations

from math import nan
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from evolve.analysis import RankCorrelation, rank_correlation
from evolve.commands.rung_text import rung_text
from evolve.run.engines import SerialEngine
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.storage.foretelling import foretelling
from tests.fakes import fake_study, make_fake


def known(value: float, num_pairs: int = 20) -> RankCorrelation:
    return RankCorrelation(value=value, low=value - 0.2, high=value + 0.1, num_pairs=num_pairs)


def test_the_interval_of_a_rank_correlation_is_about_that_of_resampled_pairs() -> None:
    rng = np.random.default_rng(0)
    first = rng.standard_normal(60)
    second = first + 0.8 * rng.standard_normal(60)

    found = rank_correlation([*first], [*second])
    theirs = bootstrap((first, second), lambda x, y: spearmanr(x, y).statistic, paired=True, vectorized=False, rng=rng)

    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.08)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.08)
    assert found.num_pairs == 60


def test_of_equal_values_or_few_pairs_no_more_is_said_than_is_known() -> None:
    assert rank_correlation([1, 1, 1], [1, 2, 3]).text == "not known, n 3"
    assert rank_correlation([1, 2, 3], [1, 3, 2]).text == "0.50 (n 3)"
    assert rank_correlation(range(6), range(6)).text == "1.00 (1.00 to 1.00, n 6)"


def test_a_rung_that_foretells_little_is_warned_of_and_one_that_foretells_much_is_not() -> None:
    asks, stops = fake_study(epochs=9), fake_study(epochs=9, pruner="asha")

    assert rung_text(asks, {}) == ""
    assert rung_text(asks, {1: known(0.81), 3: known(0.9)}) == (
        "order of trials against their order after 9 epochs, rank correlation after 1: 0.81 (0.61 to 0.91, n 20); "
        "after 3: 0.90 (0.70 to 1.00, n 20)"
    )
    assert rung_text(asks, {1: known(0.69)}).endswith(
        "not for pruners that decide so early, as asha and promotion and hyperband do"
    )
    assert rung_text(stops, {1: known(0.69)}).endswith("Below 0.7: asha may stop the best; median or none is safer")
    assert "Below" not in rung_text(stops, {1: known(nan)})


def test_rungs_of_a_study_are_compared_with_the_end_of_those_that_trained_through(tmp_path: Path) -> None:
    study = fake_study(epochs=9, budget={"trials": 16}, space={"lr0": {"low": 1e-3, "high": 2, "log": True}})
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    run = StudyRun(study, storage, SerialEngine(lambda: make_fake(9, tmp_path)), environment_id="test")
    with storage.lease(run.study_id, study.name) as lease:
        list(run.events(lease))
    lost = sum(verdict == "diverged" for verdict in storage.verdicts(run.study_id).values())

    found = foretelling(storage.engine, study)
    storage.close()

    # Each curve of the fake objective is its end times the same numbers.
    assert {rung: (each.value, each.num_pairs) for rung, each in found.items()} == {
        rung: (pytest.approx(1.0), 16 - lost) for rung in (3,)
    }
    assert 0 < lost < 8
