"""The critical rate, found by short trainings before the first trial: where the ratio falls, and once for a study."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from evolve.errors import EvolveError
from evolve.run.detection import open_study_data
from evolve.run.placing import critical_rate, ratio_at
from evolve.storage.database import Storage
from evolve.study import Study
from tests.processes import evolve

TINY = {
    "data": "digits-1",
    "image_size": 32,
    "epochs": 1,
    "hyperparameters": {"train_share": 0.05, "warmup_epochs": 0, "clip_norm": 0},
    "space": {"lr0": {"around": "critical", "points": 3}},
    "sampler": "grid",
    "budget": {"trials": 2},
    "thresholds": {"floor": 0.0},
}


@pytest.mark.parametrize("edge", [0.002, 0.1, 0.24, 0.26, 0.9, 1.1, 70.0])
def test_rates_are_tried_until_one_is_borne_and_the_next_is_not(edge: float) -> None:
    tried = []

    def ratio_of(rate: float) -> float:
        tried.append(rate)
        return 1.0 if rate < edge else 0.2

    found = critical_rate(ratio_of)

    low, high = found.measured
    assert low < edge <= high and high / low == pytest.approx(2, rel=0.02)
    assert low < found.edge < high and found.edge == pytest.approx(edge, rel=0.45)
    assert len(tried) == len(set(tried)) <= 8
    assert all(re.search(rf"{rate:g}: (1|0.2)\b", found.reason) for rate in tried)


def test_a_training_that_diverges_counts_as_beyond_and_one_without_a_number_too() -> None:
    assert critical_rate(lambda rate: 1.0 if rate < 0.5 else 0.0).measured[0] < 0.5
    assert critical_rate(lambda rate: 1.0 if rate < 0.5 else float("nan")).measured[0] < 0.5


@pytest.mark.parametrize(("ratio", "said"), [(1.0, "is borne"), (0.1, "diverges")])
def test_without_an_edge_among_all_rates_it_says_so(ratio: float, said: str) -> None:
    with pytest.raises(EvolveError, match=rf"every rate from .* to .* {said}"):
        critical_rate(lambda _rate: ratio)


def test_a_short_training_bears_a_low_rate_and_not_a_high_one_and_is_the_same_each_time() -> None:
    study = Study.from_mapping({**TINY, "name": "tiny"}, origin="test")
    dataset = open_study_data(study)

    low, again, high = (ratio_at(study, dataset, "cpu", rate) for rate in (0.02, 0.02, 100.0))

    assert low == again > 0.5 > high


def test_a_study_measures_once_and_a_resumed_one_asks_for_the_points_it_has_stored(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(TINY))
    first = evolve(tmp_path, "run", "--study", "sweep.yaml", "--engine", "serial", "--device", "cpu")
    second = evolve(tmp_path, "run", "--study", "sweep.yaml", "--engine", "serial", "--device", "cpu", "--trials", "3")
    shown = json.loads(evolve(tmp_path, "show", "sweep", "--json").stdout)

    with closing(Storage(f"sqlite:///{tmp_path}/runs/evolve.db", reads_only=True)) as storage:
        study = storage.stored_study("sweep")

    assert study is not None and study.space.unplaced == ()
    assert "placed  lr0 3 points, 1/100 to 4 times the critical rate " in first.stderr
    assert "placed" not in second.stderr and "space.lr0.around: critical rate between" in second.stderr
    assert sorted(row["params"]["lr0"] for row in shown) == study.grid()["lr0"]
    report = (tmp_path / "runs/sweep/report.html").read_text()
    assert "Before the first trial short trainings put the critical rate at lr0" in report
