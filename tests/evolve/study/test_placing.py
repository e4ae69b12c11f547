"""A range around the critical rate: written, placed once by what was measured, and the same ever after."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evolve.commands.plan_text import describe
from evolve.errors import StudyError
from evolve.optuna import objective
from evolve.study import Study
from evolve.study.file import read_study
from evolve.study.placing import Measured, placed
from evolve.study.space import Range

WRITTEN = """
data: digits-1
space: {lr0: {around: critical, below: 100, above: 4, points: 7}}
sampler: grid
budget: {trials: 7}
"""
FOUND = {"lr0": Measured(edge=0.5, measured=(0.4, 0.625), reason="critical rate between 0.4 and 0.625, by trainings")}


def written(folder: Path, text: str = WRITTEN) -> Any:
    (folder / "sweep.yaml").write_text(text)
    return read_study(str(folder / "sweep.yaml"))


def rate(study: Study) -> Range:
    axis = study.space["lr0"]
    assert isinstance(axis, Range)
    return axis


def test_points_lie_by_equal_ratios_from_well_below_what_was_measured_to_above_it(tmp_path: Path) -> None:
    study = placed(written(tmp_path).preview(), FOUND)

    points = study.grid()["lr0"]
    ratios = [float(after) / float(before) for before, after in pairwise(points)]
    assert (points[0], points[-1], len(points)) == (0.005, 2.0, 7)
    assert ratios == pytest.approx([400 ** (1 / 6)] * 6, rel=1e-4)
    assert sum(float(point) < 0.4 for point in points) == 5 and sum(float(point) > 0.625 for point in points) == 2


def test_what_was_measured_is_stored_and_the_same_command_asks_for_the_same_points(tmp_path: Path) -> None:
    file = written(tmp_path)
    stored = Study.from_json(placed(file.preview(), FOUND).to_json())

    again = file.settled_like(stored)

    assert file.preview().space.unplaced == ("lr0",) and again.space.unplaced == ()
    assert again.grid() == stored.grid() and again.differences(stored) == []
    assert again == stored and stored.decisions == {"space.lr0.around": FOUND["lr0"].reason}
    assert stored.to_mapping()["space"]["lr0"] | {"points": 7} == {
        **{"low": 0.005, "high": 2.0, "log": True, "points": 7},
        **{"around": "critical", "below": 100.0, "above": 4.0, "edge": 0.5, "measured": [0.4, 0.625]},
    }


def test_other_factors_than_the_stored_ones_are_another_study(tmp_path: Path) -> None:
    stored = placed(written(tmp_path).preview(), FOUND)

    again = written(tmp_path, WRITTEN.replace("above: 4", "above: 8")).settled_like(stored)

    assert again.differences(stored) == ["space.lr0.high", "space.lr0.above"]


def test_an_edge_that_a_person_names_needs_no_measurement(tmp_path: Path) -> None:
    study = written(tmp_path, WRITTEN.replace("points: 7", "edge: 0.3")).preview()

    assert study.space.unplaced == () and (rate(study).low, rate(study).high) == (0.003, 1.2)


def test_a_prior_is_kept_and_may_lie_anywhere_until_the_range_is_placed(tmp_path: Path) -> None:
    believed = "lr0: {around: critical, prior: {centre: 0.9, confidence: high}}"
    text = WRITTEN.replace("lr0: {around: critical, below: 100, above: 4, points: 7}", believed).replace(
        "grid", "guided"
    )
    study = placed(written(tmp_path, text).preview(), FOUND)

    assert rate(study).prior is not None and rate(study).prior.centre == 0.9 and rate(study).high == 2.0  # type: ignore[union-attr]
    with pytest.raises(StudyError, match=r"space.lr0: centre 0.9 of the prior is outside 1e-05..0.004"):
        placed(written(tmp_path, text).preview(), {"lr0": Measured(edge=0.001, measured=(), reason="")})


def test_the_loop_of_optuna_takes_no_range_that_has_to_be_measured(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"space.lr0.around: is measured by `evolve run` alone; write low and high"):
        objective(written(tmp_path).preview(), device="cpu")


def test_the_plan_says_where_points_will_be_and_then_where_they_are(tmp_path: Path) -> None:
    before = written(tmp_path).preview()

    assert "7 points, 1/100 to 4 times the critical rate, which short trainings measure before" in describe(before)
    assert "7 points, 1/100 to 4 times the critical rate 0.5: 0.005 .. 2 (log)" in describe(placed(before, FOUND))


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("lr0: {around: loss}", "space.lr0: around 'loss' is not one of critical"),
        ("lr0: {around: }", "space.lr0: around '' is not one of critical"),
        ("lr0: {around: critical, abov: 3}", "space.lr0: unknown key 'abov'; did you mean 'above'?"),
        ("lr0: {around: critical, below: 0.5}", "space.lr0: below 0.5 is not a factor of 1 to 1,000,000"),
        ("lr0: {around: critical, below: 1, above: 1}", "below and above are both 1, which leaves a single value"),
        ("lr0: {around: critical, above: many}", "space.lr0.above: 'many' is not a finite number"),
        ("lr0: {around: critical, edge: -1}", "space.lr0: edge -1 is not a number above 0"),
        ("lr0: {around: critical, low: 0.1}", "space.lr0: low 0.1 is given beside around, which decides it"),
        ("lr0: {around: critical, edge: 1, high: 3}", "space.lr0: high 3.0 is given beside around, which decides it"),
        ("lr0: {around: critical, measured: 3}", "space.lr0.measured: 3 is not a list of numbers"),
        ("momentum: {around: critical}", "space.momentum: around is not allowed: nothing is measured of it but of lr0"),
    ],
)
def test_what_is_not_allowed_is_said_where_it_stands(tmp_path: Path, axis: str, said: str) -> None:
    with pytest.raises(StudyError) as raised:
        written(tmp_path, WRITTEN.replace("lr0: {around: critical, below: 100, above: 4, points: 7}", axis))

    assert said in str(raised.value)


def test_arms_are_not_tuned_over_a_range_that_has_to_be_measured() -> None:
    nuisance = {"space": {"lr0": {"around": "critical"}}, "trials": 3}
    raw = {"name": "s", "ablation": {"one_factor": {"optimizer": ["adamw"]}, "nuisance": nuisance}}

    with pytest.raises(StudyError, match=r"ablation.nuisance.space.lr0.around: is measured for a search"):
        Study.from_mapping(raw, origin="test")
