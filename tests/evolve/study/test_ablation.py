"""Facts about ablations in a study's file: the arms they make, their trials and seeds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.arms import exportable_trials, least_seeds
from evolve.study.checks import warnings
from evolve.study.file import read_study

LR0, SCHEDULE = 0.01, "linear"  # the defaults


def study(ablation: dict[str, Any], **changes: Any) -> Study:
    return Study.from_mapping({"name": "s", "ablation": ablation} | changes, origin="s.yaml")


def arms(found: Study) -> dict[str, dict[str, Any]]:
    assert found.arm_plan is not None
    return {arm.name: dict(arm.params) for arm in found.arm_plan.arms}


def test_named_arms_change_the_study_and_are_its_trials() -> None:
    found = study({"arms": {"fast": {"lr0": 0.1}, "bent": {"schedule": "cosine"}}})

    assert arms(found) == {
        "baseline": {"lr0": LR0, "schedule": SCHEDULE},
        "fast": {"lr0": 0.1, "schedule": SCHEDULE},
        "bent": {"lr0": LR0, "schedule": "cosine"},
    }
    assert (found.budget.trials, found.sampler, found.pruner, found.seeds) == (3, "arms", "none", tuple(range(8)))
    assert {name: axis.to_mapping() for name, axis in found.space.items()} == {
        "lr0": {"choices": [LR0, 0.1]},
        "schedule": {"choices": ["linear", "cosine"]},
    }


@pytest.mark.parametrize(
    ("ablation", "nominal"),
    [
        ({"arms": {"small": {"batch_size": 8}, "rare": {"nominal_batch_size": 32}}}, [1, 1, 32]),
        (
            {
                "arms": {"rare": {"nominal_batch_size": 32}},
                "nuisance": {"space": {"batch_size": {"choices": [8, 16]}}, "trials": 2},
            },
            [1, 32],
        ),
        ({"arms": {"rare": {"nominal_batch_size": 32}}}, [16, 32]),
    ],
)
def test_where_arms_or_their_tuning_vary_the_batch_the_baseline_is_updated_after_each(
    ablation: dict[str, Any], nominal: list[int]
) -> None:
    found = study(ablation)

    assert [params["nominal_batch_size"] for params in arms(found).values()] == nominal
    assert found.nominal_batch_size == nominal[0] and Study.from_json(found.to_json()) == found


def test_one_factor_at_a_time_makes_an_arm_of_each_value() -> None:
    assert list(arms(study({"one_factor": {"lr0": [0.1, 0.2], "momentum": [0.5]}}))) == [
        "baseline",
        "lr0=0.1",
        "lr0=0.2",
        "momentum=0.5",
    ]


@pytest.mark.parametrize(
    ("ablation", "names"),
    [
        ({"one_factor": {"lr0": [0.12341, 0.12342, 0.2]}}, ["lr0=0.12341", "lr0=0.12342", "lr0=0.2"]),
        (
            {"factorial": {"lr0": [0.12341, 0.12342], "momentum": [0.5]}},
            ["momentum=0.5", "lr0=0.12341", "lr0=0.12341, momentum=0.5", "lr0=0.12342", "lr0=0.12342, momentum=0.5"],
        ),
        ({"one_factor": {"lr0": [0.12341, 0.2]}}, ["lr0=0.1234", "lr0=0.2"]),
        ({"one_factor": {"lr0": [0.1234, 0.12342]}}, ["lr0=0.1234", "lr0=0.12342"]),
    ],
)
def test_values_that_are_alike_to_four_digits_are_arms_of_their_own_with_names_in_full(
    ablation: dict[str, Any], names: list[str]
) -> None:
    found = arms(study(ablation))

    assert list(found) == ["baseline", *names]
    assert len({tuple(params.values()) for params in found.values()}) == len(found)


@pytest.mark.parametrize("kind", ["one_factor", "factorial"])
def test_a_stored_study_has_the_arms_that_it_has_trained(kind: str) -> None:
    trained = study({kind: {"lr0": [0.12342, 0.2]}}).to_mapping()
    values = {"lr0": [0.12341, 0.12342, 0.2]}  # as written where the first of them was no arm

    found = Study.from_json(json.dumps(trained | {"ablation": trained["ablation"] | {kind: values}}))

    assert list(arms(found)) == ["baseline", "lr0=0.1234", "lr0=0.2"] and found == Study.from_mapping(
        trained, origin=""
    )


def test_a_recipe_is_the_baseline_and_each_arm_takes_one_thing_back() -> None:
    recipe = {"lr0": 0.1, "schedule": "cosine"}

    assert arms(study({"leave_one_out": recipe})) == {
        "baseline": recipe,
        "without lr0": {"lr0": LR0, "schedule": "cosine"},
        "without schedule": {"lr0": 0.1, "schedule": SCHEDULE},
    }


def test_a_factorial_has_every_combination_with_the_baselines_own_values() -> None:
    found = arms(study({"factorial": {"lr0": [0.1], "schedule": ["linear", "cosine", "steps"]}}))

    assert len(found) == 2 * 3 and {tuple(params.values()) for params in found.values()} == {
        (lr0, schedule) for lr0 in (LR0, 0.1) for schedule in ("linear", "cosine", "steps")
    }


def test_a_path_makes_one_change_after_the_other_in_the_order_written() -> None:
    assert arms(study({"path": {"to": {"schedule": "cosine", "lr0": 0.1}}})) == {
        "baseline": {"schedule": SCHEDULE, "lr0": LR0},
        "+ schedule=cosine": {"schedule": "cosine", "lr0": LR0},
        "+ lr0=0.1": {"schedule": "cosine", "lr0": 0.1},
    }


def test_what_the_study_fixes_is_the_baselines_and_no_warning() -> None:
    found = study({"one_factor": {"lr0": [0.1]}}, hyperparameters={"lr0": 0.03})

    assert arms(found)["baseline"] == {"lr0": 0.03} and warnings(found) == []


def test_a_nuisance_is_tuned_by_equal_budgets_on_seeds_of_its_own() -> None:
    nuisance = {"space": {"lr0": {"low": 0.001, "high": 0.1, "log": True}}, "trials": 4, "seeds": 2}
    plan = study({"one_factor": {"schedule": ["cosine", "steps"]}, "nuisance": nuisance}).arm_plan
    assert plan is not None

    tuned = [plan.arm_of(number).name for number in range(plan.num_tuning)]

    assert {tuned.count(arm.name) for arm in plan.arms} == {4}
    assert plan.seeds_of(0) == (8, 9) and plan.seeds_of(plan.num_tuning) == tuple(range(8))
    assert [number for number, _ in plan.verdicts()] == [12, 13, 14] and plan.num_trials == 15
    assert plan.num_trainings == 12 * 2 + 3 * 8


@pytest.mark.parametrize(("num_arms", "seeds"), [(1, 6), (2, 7), (4, 8), (8, 9), (12, 9)])
def test_so_many_seeds_can_conclude_at_all(num_arms: int, seeds: int) -> None:
    values = [round(0.02 + 0.001 * place, 3) for place in range(num_arms)]
    ablation = {"one_factor": {"lr0": values}}

    assert least_seeds(num_arms) == seeds
    assert study(ablation | {"seeds": seeds}).seeds == tuple(range(seeds))
    with pytest.raises(StudyError, match=f"s.yaml: ablation.seeds: {seeds - 1} seeds cannot tell .*: {seeds} or more"):
        study(ablation | {"seeds": seeds - 1})
    assert len(study(ablation).seeds) == (8 if num_arms <= 4 else 10)


FAST = {"arms": {"fast": {"lr0": 0.1}}}


@pytest.mark.parametrize(
    ("ablation", "changes", "said"),
    [
        ({}, {}, "ablation: names no arms; allowed is exactly one of ['arms', 'one_factor'"),
        (FAST | {"one_factor": {"lr0": [1]}}, {}, "ablation: has arms and one_factor; allowed is exactly one"),
        ({"arms": {"fast": {"lr": 0.1}}}, {}, "ablation.arms.fast.lr: unknown hyperparameter 'lr'"),
        ({"one_factor": {"lr0": []}}, {}, "ablation.one_factor.lr0: [] is not a list with at least one value"),
        ({"arms": {"same": {"lr0": LR0}}}, {}, "ablation.arms.same: is the same as the baseline (lr0=0.01)"),
        ({"arms": {"a": {"lr0": 1}, "b": {"lr0": 1}}}, {}, "ablation.arms.b: is the same as arm a (lr0=1)"),
        ({"factorial": {"lr0": [LR0]}}, {}, "ablation.factorial: makes no arm beside the baseline"),
        ({"arms": {"baseline": {"lr0": 1}}}, {}, "ablation.arms.baseline: is always trained"),
        (FAST | {"margin": 0}, {}, "ablation.margin: 0 is not a difference between 0 and 1"),
        (FAST | {"seeds": "many"}, {}, "ablation.seeds: 'many' is neither a number of seeds nor a list"),
        (FAST | {"on_divergence": "ignore"}, {}, "ablation.on_divergence: 'ignore' is not one of 'loses'"),
        (FAST, {"space": {"lr0": {"low": 0.1, "high": 1}}}, "space: is given beside ablation"),
        (FAST, {"pruner": "asha"}, "pruner: 'asha' would stop arms"),
        (FAST, {"seeds": [0, 1]}, "seeds: [0, 1] is given beside ablation; write ablation.seeds"),
        (FAST, {"budget": {"trials": 7}}, "budget.trials: 7 is not the 2 that the arms need"),
        (FAST, {"budget": "banana"}, "budget: 'banana' is not a mapping"),
        (FAST, {"budget": 5}, "budget: 5 is not a mapping"),
        (FAST | {"metric": "map50"}, {"fitness": {"recall": 1}}, "fitness: is given beside ablation.metric"),
        (
            FAST | {"nuisance": {"space": {"lr0": {"low": 0.1, "high": 1}}, "trials": 2}},
            {},
            "ablation.nuisance.space: tunes ['lr0'], in which the arms differ",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_place(
    ablation: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(StudyError) as raised:
        study(ablation, **changes)

    assert f"s.yaml: {said}" in str(raised.value)


@pytest.mark.parametrize(
    "ablation",
    [
        FAST | {"metric": "map50", "seeds": [3, 5, 7, 9, 11, 13]},
        {"path": {"to": {"lr0": 0.1}}, "question": "?"},
        {"one_factor": {"batch_size": [8, 32]}},
        {"one_factor": {"nesterov": [False]}, "nuisance": {"space": {"lr0": {"choices": [0.1, 1]}}, "trials": 2}},
    ],
)
def test_a_stored_ablation_is_the_one_that_was_written(ablation: dict[str, Any]) -> None:
    written = study(ablation)

    stored = Study.from_json(written.to_json())

    assert stored == written and stored.differences(written) == [] and stored.arm_plan == written.arm_plan
    assert stored.differences(study({"arms": {"other": {"lr0": 0.2}}})) != []


def test_the_metric_that_is_compared_is_the_studys_fitness() -> None:
    found = study(FAST | {"metric": "map50"})

    assert (found.fitness.map50, found.fitness.map50_95) == (1.0, 0.0)


def test_seeds_of_the_command_line_are_those_of_the_ablation(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"ablation": FAST | {"seeds": 8}}))

    assert read_study(str(path), {"seeds": tuple(range(6))}).preview().seeds == tuple(range(6))
    with pytest.raises(StudyError, match=r"^--seeds: 1 seed cannot tell 1 arm"):
        read_study(str(path), {"seeds": (0,)})


def test_a_budget_of_the_command_line_goes_with_a_path_whose_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"ablation": {"path": {"to": "paper"}}}))

    assert read_study(str(path), {"seconds": 600.0}).preview().budget.seconds == 600


def test_a_preset_is_named_as_the_baseline(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"ablation": FAST, "preset": "darknet"}))

    with pytest.raises(StudyError, match=r"preset: is given beside ablation; write ablation.baseline: darknet"):
        read_study(str(path))


def test_looks_decide_the_seeds_and_only_measured_ones_are_allowed() -> None:
    found = study(FAST | {"looks": [6, 10]})

    assert found.seeds == tuple(range(10)) and found.budget.trials == 4
    assert Study.from_json(found.to_json()).arm_plan == found.arm_plan
    for looks in ([6], [10, 16], [6, 12], "6"):
        with pytest.raises(StudyError, match=r"ablation.looks: .* allowed: \[\[6, 10\], \[6, 10, 16\]"):
            study(FAST | {"looks": looks})
    with pytest.raises(StudyError, match="ablation: has 8 seeds, but looks end at 10; leave seeds out"):
        study(FAST | {"looks": [6, 10], "seeds": 8})


def test_until_an_ablation_is_complete_every_arm_may_be_exported_then_what_is_taken_the_best_and_the_baseline() -> None:
    plan = study({"arms": {"good": {"lr0": 0.02}, "great": {"lr0": 0.03}}, "looks": [6, 10]}).arm_plan
    assert plan is not None

    assert exportable_trials(plan, range(5), best=2, chosen=lambda: 1) == {0, 1, 2}
    assert exportable_trials(plan, range(6), best=2, chosen=lambda: 2) == {0, 2}
    assert exportable_trials(plan, range(6), best=2, chosen=lambda: 1) == {0, 1, 2}
    assert exportable_trials(plan, range(6), best=None, chosen=lambda: None) == {0}
    assert exportable_trials(None, range(6), best=2, chosen=lambda: None) == {2}
