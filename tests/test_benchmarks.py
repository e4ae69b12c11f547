"""Benchmarks that nobody could run until there is a device run on a CPU, too."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy, calibration, false_findings, gpu, losing, promotion, recorded, screening, search
from benchmarks.curves import EPOCHS, Curve
from benchmarks.recorded import Between, Row
from evolve.search.samplers.design import sobol_points
from evolve.search.samplers.unit_cube import from_unit


def test_the_table_for_a_device_counts_what_is_started_and_a_lane_more_starts_little_outside_the_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "PROFILED_STEPS", 2)  # each is thousands of events
    monkeypatch.setattr(gpu, "WARM_STEPS", 1)
    few = {"device": "cpu", "models": "yolov3-tiny-compact:32:2", "lanes": "1,2", "steps": "2"}
    gpu.main([f"--{name}={value}" for name, value in few.items()])

    header, _, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [row[3:5] for row in rows] == [["float32", "1"], ["float32", "2"], ["bfloat16", "1"], ["bfloat16", "2"]]
    assert {len(row) for row in rows} == {len(header)}
    started, outside = header.index("operators"), header.index("outside the pass")
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert 0 < int(one[outside]) < int(one[started])
        assert float(two[header.index("trial-images/s")]) > 0


@pytest.mark.parametrize("name", ["normal", "t3"])
def test_simulated_ablations_are_judged_as_they_promise(name: str) -> None:
    found = calibration.simulated(calibration.noise(name), ablations=60, rates=[0.0, 0.3], looks=[8])

    # three standard errors of 240 intervals; more than 8 of 60 come in 3 of 1,000 cases where 1 in 20 is allowed
    assert found.covered > 0.93 - 3 * (0.93 * 0.07 / 240) ** 0.5
    assert found.false <= 8 / 60
    assert found.found[1] > found.found[0]


@pytest.mark.parametrize("seeds", [8, 12])
def test_ablations_that_are_judged_all_at_once_are_judged_as_each_by_itself(seeds: int) -> None:
    rng, noise = np.random.default_rng(4), calibration.noise("normal")
    values = losing.drawn(noise, rng, 30, seeds)
    lost = losing.diverged(values, noise, rng, "both", 0.1)
    values[:, :, 1:] += 0.06

    found = losing.better(values, lost, losing.OURS)

    alone = [calibration.judged(calibration.runs_of(*each), [seeds]) for each in zip(values, lost, strict=True)]
    assert found.tolist() == [[each.verdict == "better" for each in standing.effects] for standing in alone]
    assert 10 < found.sum() < 110


def made_up(number: int, seed: int) -> Row:
    """A training whose fitness rises to its end, is highest there at lr0 0.1, and that diverges at once from 1 on."""
    distributions = recorded.STUDY.space.distributions()
    params = from_unit(distributions, sobol_points(len(distributions), seed=0, first=number)[0])
    has_diverged = params["lr0"] >= 1
    end = 0.6 - 0.1 * (log10(params["lr0"]) + 1) ** 2 + 0.001 * seed
    return Row(
        point=number,
        seed=seed,
        params=params,
        curve=() if has_diverged else (0.25 * end, 0.5 * end, 0.75 * end, end),
        steps=20 if has_diverged else 100,
        update_ratio=0.2 * params["lr0"],
        has_diverged=has_diverged,
    )


def test_a_recording_goes_on_where_it_was_stopped_and_is_read_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[int, int]] = []

    def train(numbers: Sequence[int], seed: int) -> list[Row]:
        trained.extend((number, seed) for number in numbers)
        return [made_up(number, seed) for number in numbers]

    monkeypatch.setattr(recorded, "_trained", train)
    path = tmp_path / "search.csv"
    recorded.record(path, points=8, seeds=2)
    recorded.record(path, points=16, seeds=2)

    assert trained == [(number, seed) for first in (0, 8) for seed in (0, 1) for number in range(first, first + 8)]
    for row in recorded.read(path):
        expected = made_up(row.point, row.seed)
        assert row.params == pytest.approx(expected.params, rel=1e-5)
        assert row.curve == pytest.approx(expected.curve, rel=1e-4)
        assert row.fitness == pytest.approx(expected.fitness, rel=1e-4, nan_ok=True)
        assert row.steps == expected.steps
        assert (row.has_diverged, row.margin > 0) == (expected.has_diverged, expected.has_diverged)


def test_a_variant_names_a_network_and_a_batch_beside_hyperparameters() -> None:
    variant = accuracy.variant_of({"model": "yolov3-tiny-3l", "batch_size": 8, "lr0": 0.02})
    plan = variant.planned(3, 30)

    assert (plan.model, plan.batch_size, plan.nominal_batch_size, plan.image_size) == ("yolov3-tiny-3l", 8, 8, 160)
    assert (plan.data_seed, plan.epochs, variant.values.lr0) == (3, 30, 0.02)


def test_searches_are_compared_by_what_they_found_without_luck() -> None:
    objective = Between([made_up(number, seed) for number in range(64) for seed in (0, 1)])
    made = search.contenders(objective, trials=12)
    found = {
        name: [*search.searched(made[name], objective, seeds=3, trials=12)][-1]
        for name in ("tpe", "classic", "plain tpe")
    }
    lines = search.report(found, objective.best()[1])

    assert objective.noise == pytest.approx(0.001 / 2**0.5, rel=1e-3)
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| tpe", "| classic", "| plain tpe"]
    for each in found.values():
        assert ((each.fitness_SN >= 0) & (each.fitness_SN <= objective.best()[1])).all()
        assert not each.diverged_SN[:, 0].any()  # trial 0 is the defaults
        assert (each.tried_SN >= each.fitness_SN).all()
        assert (np.diff(each.tried_SN) >= 0).all()
        whole_SN = np.where(each.diverged_SN, 0.2, 1.0)  # nothing stops a trial but its divergence
        assert each.spent_SN == pytest.approx(whole_SN.cumsum(1))
    assert found["tpe"].diverged_SN[:, 1:].any()


def test_searches_of_two_calls_are_together_those_of_one() -> None:
    objective = Between([made_up(number, seed) for number in range(64) for seed in (0, 1)])
    make = search.contenders(objective, trials=6)["random"]

    whole, start, rest = (
        [*search.searched(make, objective, seeds=seeds, trials=6, first=first)][-1]
        for seeds, first in ((3, 0), (2, 0), (1, 2))
    )

    found = search.together(start, rest)
    for name in ("fitness_SN", "tried_SN", "diverged_SN", "spent_SN"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_luck_is_that_of_recorded_trainings_and_as_wide_as_from_seed_to_seed() -> None:
    objective = Between([made_up(number, seed) for number in range(64) for seed in (0, 1)])
    lucks = [objective.luck(np.random.default_rng(seed)) for seed in range(20)]

    # the seeds lie 0.001 apart at the end, and a quarter of that after one epoch of four
    assert {round(float(luck[-1]), 6) for luck in lucks} == {-round(0.001 / 2**0.5, 6), round(0.001 / 2**0.5, 6)}
    assert all(luck[0] == pytest.approx(luck[-1] / 4) for luck in lucks)


def test_a_pruned_search_costs_less_and_its_pruned_trials_are_never_its_best() -> None:
    objective = Between([made_up(number, seed) for number in range(64) for seed in (0, 1)])
    made = search.contenders(objective, trials=24)
    names = ("tpe + median", "plain tpe")
    found = {name: [*search.searched(made[name], objective, seeds=3, trials=24)][-1] for name in names}

    pruned = found["tpe + median"]
    assert (np.diff(pruned.spent_SN, prepend=0) > 0).all()
    assert (pruned.spent_SN[:, -1] < np.where(pruned.diverged_SN, 0.2, 1.0).sum(1)).all()
    assert np.diff(pruned.spent_SN)[np.diff(pruned.fitness_SN) > 0] == pytest.approx(1.0)

    lines = search.costs(found, found["plain tpe"])
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| tpe + median", "| plain tpe"]
    level = np.median(found["plain tpe"].fitness_SN[:, -1])
    assert search.time_to_reach(found["plain tpe"], level) <= np.median(found["plain tpe"].spent_SN[:, -1])
    assert search.time_to_reach(found["plain tpe"], 1.0) == np.inf


def test_of_many_small_changes_a_screening_finds_more_than_trying_each_by_itself() -> None:
    truths = [screening.planted(np.random.default_rng([1, seed])) for seed in range(12)]
    gains = {"screening": [], "one at a time": []}
    for seed, truth in enumerate(truths):
        gains["screening"].append(
            screening.searched("screening", truth, np.random.default_rng([2, seed]), trials=34, seed=seed)
        )
        gains["one at a time"].append(screening.one_at_a_time(truth, np.random.default_rng([2, seed])))

    own = {name: values[0] for name, values in screening.SPACE.items()}
    assert truths[0].gain(own) == 0
    assert np.mean(gains["screening"]) > np.mean(gains["one at a time"]) + 0.005


def test_the_number_of_trials_to_a_level_is_the_median_over_seeds() -> None:
    fitness_SN = np.array([[0.1, 0.5, 0.5], [0.5, 0.5, 0.5], [0.1, 0.1, 0.5]])
    spent_SN = np.array([[1, 1.5, 2.5], [0.5, 1.5, 2.5], [1, 2, 3]])
    found = search.Found(
        fitness_SN=fitness_SN, tried_SN=fitness_SN, diverged_SN=fitness_SN > 1, spent_SN=spent_SN, ask_seconds=0
    )

    assert search.time_to_reach(found, 0.5) == 1.5
    assert search.trials_to_reach(found, 0.5) == 2
    assert search.trials_to_reach(found, 0.6) == np.inf


def test_findings_of_simulated_searches_speak_where_something_is_planted_and_hardly_elsewhere() -> None:
    planted = false_findings.counted("edge", "random", trials=20, studies=20)
    placed = false_findings.counted("well placed", "random", trials=20, studies=20)

    assert planted["edge"] >= 15
    assert sum(placed.values()) <= 1


def curves_of(ends: Sequence[float], *, lost: Sequence[int] = ()) -> list[Curve]:
    """Curves that climb evenly to their ends; those that are lost have two epochs."""
    return [
        Curve(
            point=point,
            fitness=tuple(end * (epoch + 1) / EPOCHS for epoch in range(2 if point in lost else EPOCHS)),
            has_diverged=point in lost,
        )
        for point, end in enumerate(ends)
    ]


@pytest.mark.parametrize("rule", promotion.RULES)
def test_on_curves_that_do_not_cross_every_rule_finds_the_best_and_counts_what_it_spends(rule: str) -> None:
    ends = [0.3, 0.9, 0.5, 0.1, 0.2, 0.4, 0.6, 0.7, 0.8]
    curves = curves_of(ends, lost=[1])

    spent = [*promotion.searched(rule, curves)]

    assert spent[-1].best == pytest.approx(0.8)
    assert spent[-1].trials == len(ends)
    assert [each.epochs for each in spent] == sorted(each.epochs for each in spent)
    whole = 8 * EPOCHS + 3  # the epoch in which it diverged counts
    assert spent[-1].epochs == whole if rule in ("none", "median") else spent[-1].epochs < whole


def test_of_trials_that_come_best_first_a_third_of_each_rung_goes_on_and_no_more() -> None:
    spent = [*promotion.searched("promotion from 1", curves_of([1 - 0.01 * number for number in range(27)]))]

    assert spent[-1].best == pytest.approx(1.0)
    assert spent[-1].epochs == 27 * 1 + 9 * 2 + 3 * 6
