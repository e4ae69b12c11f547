"""Facts about studies: how they are read, what is refused and how that is said, what is stored and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.hyperparameters import Hyperparameters, allowed_choices, names, numeric_range
from detector.plan import TrainingPlan
from evolve.errors import StudyError
from evolve.study import MEDIAN_STARTUP_TRIALS, Fitness, Study
from evolve.study.checks import warnings
from evolve.study.file import available_studies, read_study
from evolve.study.trial import plan_of_trial
from tests.places import ROOT

SMALLEST = "space: {lr0: {low: 0.001, high: 1, log: true}}\nbudget: {trials: 8}\n"
NUMERIC = [name for name in names() if not allowed_choices(name)]
ALL_NUMBERS = json.dumps({name: dict(zip(("low", "high"), numeric_range(name), strict=True)) for name in NUMERIC})
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes studies/smoke.yaml in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    Path("studies").mkdir()

    def written(text: str) -> Path:
        path = Path("studies/smoke.yaml")
        path.write_text(text)
        return path

    return written


def study(**changes: Any) -> Study:
    return Study.model_validate(
        {"name": "s", "space": {"lr0": {"low": 0.001, "high": 1, "log": True}}, "budget": {"trials": 8}} | changes
    )


def test_the_smallest_study_has_a_space_and_a_budget(write: Write) -> None:
    read = read_study(str(write(SMALLEST))).preview()

    assert read.name == "smoke"
    assert (read.data, read.model, read.epochs, read.sampler, read.pruner) == (
        "digits-1",
        "yolov3-tiny-compact",
        10,
        "tpe",
        "none",
    )
    assert read.seeds == (0,)
    assert read.fitness == Fitness(map50=0.1, map50_95=0.9, precision=0, recall=0)


def test_a_study_in_the_working_directory_is_found_by_name(write: Write) -> None:
    path = write(SMALLEST)

    assert ("smoke", path) in available_studies()
    assert read_study("smoke").preview() == read_study(str(path)).preview()


# What has no data of its own may search over what rendered digits have no use for.
WITH_DATA = [path.stem for path in sorted((ROOT / "studies").glob("*.yaml")) if read_study(str(path)).data]


@pytest.mark.parametrize("name", WITH_DATA)
def test_studies_that_come_with_the_package_are_found_anywhere_and_have_no_warnings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    read = read_study(name).preview()

    assert read.name == name
    assert warnings(read) == []
    assert len(read.description) > 80
    assert Study.from_json(read.to_json()) == read


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("space: {lr0: {low: 0.1, high: 0.01}}", "space.lr0: low 0.1 is not below high 0.01"),
        ("epoch: 3", "unknown key 'epoch'; did you mean 'epochs'? known: ['name', 'description', 'data',"),
        ("epochs: 0", "epochs: 0 is not at least 1"),
        ("epochs: 2.5", "epochs: 2.5 is not a whole number"),
        ("epochs: true", "epochs: True is not a whole number"),
        ("batch_size: ten", "batch_size: 'ten' is not a whole number"),
        ("image_size: 50", "image_size: 50 is not a positive multiple of 32"),
        ("model: yolov3-tinny", "model: 'yolov3-tinny' is not one of ['yolov3', 'yolov3-spp',"),
        ("precision: fp16", "precision: 'fp16' is not one of ['float32',"),
        ("data: digits-2", "data: 'digits-2' is not one of ['digits-1', 'digits-3', 'digits-10']"),
        ("data: 3", "data: 3 is not text"),
        ("data: ''", "data: '' is empty"),
        ("name: a b", "name: 'a b' has characters other than letters, digits, _ and -"),
        (
            "sampler: tep",
            "sampler: 'tep' is not one of 'grid', 'random', 'qmc', 'tpe', 'gp', 'cmaes', 'evolution', "
            "'classic', 'guided', 'screening', 'pbt' or 'arms'",
        ),
        (
            "pruner: mean",
            "pruner: 'mean' is not one of 'median', 'asha', 'promotion', 'hyperband', 'doomed', 'doomed+median' or "
            "'none'",
        ),
        ("scheduler: pbt", "scheduler: 'pbt' is not one of 'none' or 'asha'"),
        (
            "scheduler: asha\npruner: median",
            "scheduler: 'asha' is given beside the pruner 'median', and both stop trials",
        ),
        ("budget: {trials: 0}", "budget.trials: 0 is not at least 1"),
        ("budget: {trials: 5, seconds: 0}", "budget.seconds: 0 is not above 0"),
        ("budget: {trial: 5}", "budget.trials: is missing"),
        ("budget: 5", "budget: 5 is not a mapping"),
        ("budget: {trials: 1000000000}", "budget.trials: 1000000000 is above 100,000"),
        ("sampler: grid\nspace: {lr0: {low: 0, high: 1, points: 1000000000}}", "space.lr0: points 1000000000 is above"),
        (
            f"sampler: grid\nspace: {ALL_NUMBERS}",
            f"space: a grid over {len(NUMERIC)} hyperparameters has {2 ** len(NUMERIC):,} points; allowed",
        ),
        ("epochs: 100000000000000000000", "epochs: 100000000000000000000 is above 1,000,000"),
        ("image_size: 1000000000000", "image_size: 1000000000000 is above 8,192"),
        (
            "seeds: [100000000000000000000]",
            "seeds: [100000000000000000000] is not a list of different numbers, each at",
        ),
        ("seed: 4294967296", "seed: 4294967296 is above 2,147,483,647"),
        ("baseline: yes", "baseline: 'yes' is not true or false"),
        ("epochs: 010", "epochs: '010' is not a whole number"),
        ("epochs: 1:30", "epochs: '1:30' is not a whole number"),
        ("epochs: 1_0", "epochs: '1_0' is not a whole number"),
        ("nms_iou: 0_1.5", "nms_iou: '0_1.5' is not a finite number"),
        ("nms_iou: '\u0660.5'", "nms_iou: '\u0660.5' is not a finite number"),
        (
            f"nms_iou: 1{'0' * 350}",
            "nms_iou: 1000000000000000000000000000000000000000000000000000000000000000000000000000",
        ),
        (f"hyperparameters: {{lr0: 1{'0' * 350}}}", "hyperparameters.lr0: 10000000000"),
        (f"description: [{', '.join('a' * 200)}]", "description: ['a', 'a', 'a', 'a',"),
        ("seeds: 3", "seeds: 3 is not a list"),
        ("seeds: []", "seeds: [] is not a list of different numbers, each at least 0"),
        ("seeds: [1, 1]", "seeds: [1, 1] is not a list of different numbers"),
        ("seeds: [a]", "seeds.0: 'a' is not a whole number"),
        ("seed: -1", "seed: -1 is not at least 0"),
        ("fitness: {map50: 0, map50_95: 0}", "fitness: all weights are 0; at least one must be above 0"),
        ("fitness: {map50: -1}", "fitness.map50: -1.0 is not at least 0"),
        ("fitness: {map: 1}", "fitness: unknown key 'map'; did you mean 'map50'? known: ['map50', 'map50_95',"),
        ("thresholds: {floor: .nan}", "thresholds.floor: nan is not a finite number"),
        ("thresholds: {floor: 2}", "thresholds.floor: 2.0 is above 1"),
        ("baseline: 1", "baseline: 1 is not true or false"),
        ("keep_weights: none", "keep_weights: 'none' is not one of 'best' or 'all'"),
        (
            "space: {batch_size: {low: 8, high: 16}}",
            "space.batch_size: has no low and high; write choices",
        ),
        ("space: {batch_size: {choices: [8, 12.5]}}", "space.batch_size: 12.5 is not a whole number"),
        ("space: {nominal_batch_size: {choices: [0]}}", "space.nominal_batch_size: 0 is not at least 1"),
        ("space: {image_size: {choices: [64]}}", "space.image_size: unknown hyperparameter 'image_size'"),
        ("hyperparameters: {batch_size: 8}", "hyperparameters.batch_size: unknown hyperparameter 'batch_size'"),
        ("hyperparameters: {lr_0: 1}", "hyperparameters.lr_0: unknown hyperparameter 'lr_0'; did you mean 'lr0'?"),
        ("hyperparameters: {momentum: 2}", "hyperparameters.momentum: 2.0 is outside 0..0.9999"),
        ("hyperparameters: [1]", "hyperparameters: [1] is not a mapping of hyperparameters to values"),
        (
            "sampler: cmaes\nspace: {schedule: {choices: [linear]}}",
            "sampler: 'cmaes' needs numbers, but ['schedule'] have choices; take guided, tpe, gp, evolution or random",
        ),
    ],
)
def test_a_study_that_is_not_allowed_says_where_and_what(write: Write, more: str, text: str) -> None:
    keys = {line.partition(":")[0] for line in more.splitlines()}
    rest = [line for line in SMALLEST.splitlines() if line.partition(":")[0] not in keys]
    path = write("\n".join([*rest, more]))

    with pytest.raises(StudyError) as error:
        read_study(str(path)).preview()

    assert str(error.value).startswith(f"studies/smoke.yaml: {text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "studies/smoke.yaml: is empty; a study is a mapping with at least space and budget"),
        ("- 1", "studies/smoke.yaml: holds list; a study is a mapping"),
        ("a: [1", "studies/smoke.yaml: line 1: is not YAML: expected ',' or ']'"),
        ("a: !!python/object/apply:os.getcwd []", "studies/smoke.yaml: line 1: tag !!python/object/apply:os.getcwd is"),
        (SMALLEST + "epochs: 3\nepochs: 4\n", "studies/smoke.yaml: line 4: key 'epochs' is given twice"),
        (
            "space: {lr0: {low: 1, low: 2, high: 3}}\nbudget: {trials: 1}",
            "studies/smoke.yaml: line 1: key 'low' is given twice",
        ),
        ("a: &a {b: *a}", "studies/smoke.yaml: line 1: *a stands for what is not written before it, or holds itself"),
    ],
)
def test_a_file_that_is_no_study_says_so(write: Write, text: str, message: str) -> None:
    path = write(text)

    with pytest.raises(StudyError) as error:
        read_study(str(path)).preview()

    assert str(error.value).startswith(message)


@pytest.mark.parametrize("path", ["a\0b.yaml", f"{'a' * 300}.yaml"])
def test_a_path_that_no_file_can_have_says_so(path: str) -> None:
    with pytest.raises(StudyError, match="cannot be read: "):
        read_study(path).preview()


def test_updates_have_a_limit_from_file_and_command_line_alike(write: Write) -> None:
    path = write(SMALLEST + "updates: 1000000000000\n")

    with pytest.raises(StudyError, match=r"studies/smoke.yaml: updates: 1000000000000 is above 100,000,000"):
        read_study(str(path))
    with pytest.raises(StudyError, match=r"^--updates: 10000000000 is above"):
        read_study(str(path), {"updates": 10**10})


def test_a_file_that_is_not_there_or_not_text_says_so(write: Write) -> None:
    with pytest.raises(StudyError, match=r"^studies/smoke.yaml: cannot be read: No such file"):
        read_study("studies/smoke.yaml").preview()
    write("").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(StudyError, match=r"^studies/smoke.yaml: is not text in UTF-8"):
        read_study("studies/smoke.yaml").preview()


def test_an_unknown_study_names_the_one_probably_meant(write: Write) -> None:
    write(SMALLEST)

    with pytest.raises(StudyError, match=r"unknown study 'smok'; did you mean 'smoke'\? known: .*or give the path"):
        read_study("smok").preview()


def test_all_problems_are_named_together_each_with_its_file(write: Write) -> None:
    path = write("epochs: 0\nspace: {lr0: {low: 2, high: 1}, foo: {low: 0, high: 1}}\n")

    with pytest.raises(StudyError) as error:
        read_study(str(path)).preview()

    lines = str(error.value).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["studies/smoke.yaml", "epochs"],
        ["studies/smoke.yaml", "space.lr0"],
        ["studies/smoke.yaml", "space.foo"],
        ["studies/smoke.yaml", "budget"],
    ]


def test_options_replace_what_the_file_says(write: Write) -> None:
    path = write(SMALLEST + "epochs: 3\n")

    read = read_study(
        str(path),
        {"trials": 3, "epochs": 7, "seeds": (1, 2), "data": "digits-3", "name": "other", "model": None, "seconds": 9},
    ).preview()

    assert (read.budget.trials, read.budget.seconds, read.epochs, read.seeds) == (3, 9, 7, (1, 2))
    assert (read.data, read.name, read.model) == ("digits-3", "other", "yolov3-tiny-compact")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"trials": 0}, "--trials: 0 is not at least 1"),
        ({"image_size": 50}, "--image-size: 50 is not a positive multiple of 32"),
        ({"seeds": (1, 1)}, "--seeds: [1, 1] is not a list of different numbers"),
        ({"seeds": (1, "x")}, "--seeds: 'x' is not a whole number"),
        ({"sampler": "best"}, "--sampler: 'best' is not one of 'grid'"),
        ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_an_option_that_is_not_allowed_is_named_as_it_was_typed(
    write: Write, overrides: dict[str, object], text: str
) -> None:
    path = write(SMALLEST)

    with pytest.raises(StudyError) as error:
        read_study(str(path), overrides).preview()

    assert str(error.value).startswith(text)


def test_an_option_does_not_hide_what_is_wrong_in_the_file(write: Write) -> None:
    path = write("space: {lr0: {low: 0.1, high: 1}}\nbudget: 3\nepochs: 0\n")

    with pytest.raises(StudyError) as error:
        read_study(str(path), {"trials": 5, "epochs": 5}).preview()

    assert str(error.value) == "studies/smoke.yaml: budget: 3 is not a mapping"


def test_a_study_stored_and_read_again_is_equal() -> None:
    stored = study(
        space={
            "lr0": {"low": 1e-7, "high": 0.1 + 0.2, "log": True, "points": 3},
            "schedule": {"choices": ["linear", "cosine"]},
            "nesterov": {"choices": [False, True]},
            "box": {"choices": [1, "2e-3"]},
        },
        hyperparameters={"momentum": 0.1 + 0.7, "nesterov": False},
        seeds=[3, 1],
        budget={"trials": 5, "seconds": 1 / 3},
    )

    assert Study.from_json(stored.to_json()) == stored
    assert Study.from_json(stored.to_json()).to_json() == stored.to_json()
    assert json.loads(stored.to_json())["hyperparameters"] == {"momentum": 0.1 + 0.7, "nesterov": False}


def test_a_stored_study_that_is_not_allowed_says_so() -> None:
    with pytest.raises(StudyError, match="stored study: epochs: 0 is not at least 1"):
        Study.from_json(study().to_json().replace('"epochs": 10', '"epochs": 0'))


def test_the_plan_of_a_training_has_the_seed_of_the_data() -> None:
    planned = study(batch_size=8, epochs=3).training_plan("cuda:1", 7)

    assert planned == TrainingPlan(batch_size=8, nominal_batch_size=8, epochs=3, device="cuda:1", data_seed=7)


def test_a_nominal_batch_of_its_own_is_kept() -> None:
    assert study(batch_size=8, nominal_batch_size=64).training_plan("cpu", 0).accumulation == 8


@pytest.mark.parametrize(
    ("given", "space", "params", "batch", "accumulation"),
    [
        # Searched alone: an update after each batch, whatever its size.
        ({}, ["batch_size"], {"batch_size": 8}, 8, 1),
        ({}, ["batch_size"], {"batch_size": 32}, 32, 1),
        ({"nominal_batch_size": 32}, ["batch_size"], {"batch_size": 8}, 8, 4),
        ({"nominal_batch_size": 32}, ["batch_size"], {"batch_size": 64}, 64, 1),
        ({"batch_size": 8}, ["nominal_batch_size"], {"nominal_batch_size": 16}, 8, 2),
        ({}, ["batch_size", "nominal_batch_size"], {"batch_size": 4, "nominal_batch_size": 16}, 4, 4),
    ],
)
def test_a_trial_is_trained_with_the_batch_that_it_searches(
    given: dict[str, int], space: list[str], params: dict[str, int], batch: int, accumulation: int
) -> None:
    searching = study(space={name: {"choices": [4, 8, 16, 32, 64]} for name in space}, **given)

    plan = searching.of_trial(params).training_plan("cpu", 0)
    assert (plan.batch_size, plan.accumulation) == (batch, accumulation)
    assert searching.hyperparameters(params) == Hyperparameters()
    assert searching.baseline_params().keys() == set(space)
    assert Study.from_json(searching.to_json()) == searching


def test_trials_of_other_batches_are_no_lanes_of_one_training() -> None:
    searching = study(
        space={"lr0": {"low": 0.001, "high": 1, "log": True}, "batch_size": {"choices": [8, 16]}}, nominal_batch_size=16
    )
    first = {"lr0": 0.01, "batch_size": 8}

    assert searching.fuse_key(first) == searching.fuse_key({"lr0": 0.5, "batch_size": 8})
    assert searching.fuse_key(first) != searching.fuse_key({"lr0": 0.01, "batch_size": 16})
    assert study().of_trial({"lr0": 0.01}) == study()
    # As pages have them, where every choice is text.
    assert plan_of_trial(searching.to_mapping(), {"batch_size": "8"}) == {"batch_size": 8, "nominal_batch_size": 16}


def test_parameters_go_before_fixed_values_and_those_before_defaults() -> None:
    given = study(hyperparameters={"lr0": 0.5, "momentum": "8e-1"})

    assert given.hyperparameters({"lr0": 0.3}) == Hyperparameters(lr0=0.3, momentum=0.8)
    assert given.baseline_params() == {"lr0": 0.5}
    assert study().baseline_params() == {"lr0": Hyperparameters().lr0}


def test_fitness_is_the_weighted_mean() -> None:
    metrics = {"precision": 0.2, "recall": 0.4, "map50": 0.6, "map50_95": 0.3}

    assert Fitness().score(**metrics) == pytest.approx(0.1 * 0.6 + 0.9 * 0.3)
    assert Fitness(map50=0, map50_95=0, precision=1, recall=3).score(**metrics) == pytest.approx(0.35)
    assert Fitness(map50=5, map50_95=5).score(precision=1, recall=1, map50=1, map50_95=1) == 1


def test_studies_that_differ_in_budget_description_and_what_is_recorded_alone_may_go_on() -> None:
    assert study().differences(study(budget={"trials": 80, "seconds": 9}, description="x", inspect=True)) == []


def test_other_differences_are_named_by_key() -> None:
    other = study(
        space={"lr0": {"low": 0.01, "high": 1, "log": True}, "box": {"low": 0, "high": 1}},
        hyperparameters={"cls": 0.3},
        seeds=[1],
        fitness={"map50": 1},
    )

    differing = {"space.lr0.low", "space.box.low", "space.box.high", "space.box.log", "seeds", "fitness.map50"}
    assert set(study().differences(other)) == differing | {"hyperparameters", "hyperparameters.cls"}
    assert set(other.differences(study())) == set(study().differences(other))


def test_a_larger_budget_is_a_difference_where_it_changes_the_grid() -> None:
    free, fixed = (
        [study(sampler="grid", space={"lr0": space}, budget={"trials": trials}) for trials in (8, 9)]
        for space in ({"low": 0.001, "high": 1}, {"low": 0.001, "high": 1, "points": 8})
    )

    assert free[0].differences(free[1]) == ["budget.trials"]
    assert fixed[0].differences(fixed[1]) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hyperparameters": {"cls": 1}}, "hyperparameters.cls: has no effect: with one class"),
        ({"space": {"cls": {"low": 0, "high": 1}}}, "space.cls: has no effect: with one class"),
        ({"epochs": 1}, "hyperparameters.warmup_epochs: a warm-up of 1 epochs does not end within a training of 1"),
        (
            {"space": {"warmup_epochs": {"low": 0, "high": 12}}},
            "space.warmup_epochs: a warm-up of 12 epochs does not end within a training of 10",
        ),
        (
            {"space": {"warmup_epochs": {"choices": [0, 10]}}},
            "space.warmup_epochs: a warm-up of 10 epochs does not end within a training of 10",
        ),
        (
            {"hyperparameters": {"warmup_epochs": 0}, "space": {"warmup_momentum": {"low": 0, "high": 0.9}}},
            "space.warmup_momentum: has no effect: warmup_epochs is 0 and warmup_steps is 0",
        ),
        (
            {"space": {"objectness": {"choices": ["bce"]}, "focal_gamma": {"low": 0, "high": 3}}},
            "space.focal_gamma: has no effect: objectness is bce",
        ),
        (
            {"space": {"fliplr": {"low": 0, "high": 1}}},
            "space.fliplr: has no effect: rendered digits",
        ),
        (
            {"sampler": "grid", "space": {"lr0": {"low": 0, "high": 1, "points": 9}}},
            "budget.trials: 8 trials leave out 1 of the grid's 9 points",
        ),
        (
            {"sampler": "grid", "space": {"lr0": {"low": 0, "high": 1, "points": 3}}},
            "budget.trials: 8 trials repeat points of the grid, which has 3",
        ),
        (
            {"pruner": "median", "budget": {"trials": MEDIAN_STARTUP_TRIALS}},
            f"pruner: median stops nothing before {MEDIAN_STARTUP_TRIALS} trials are complete",
        ),
        (
            {"pruner": "asha", "space": {"batch_size": {"choices": [8, 16]}}},
            "pruner: asha compares trials after the same epochs, and batch_size is searched",
        ),
        (
            {"sampler": "grid", "baseline": True, "space": {"lr0": {"low": 0.1, "high": 1, "points": 8}}},
            "budget.trials: 8 trials, of which the baseline is no point of the grid, leave out 1 of the grid's 8",
        ),
        ({"pruner": "doomed", "epochs": 1}, "pruner: nothing is stopped in the last epoch, and there is 1"),
        (
            {"pruner": "doomed+median", "epochs": 2},
            "pruner: median stops nothing before the second epoch or in the last, and there are 2",
        ),
        ({"pruner": "asha", "epochs": 2}, "pruner: nothing is stopped before the second epoch or in the last"),
        ({"hyperparameters": {"lr0": 0.1}}, "hyperparameters.lr0: is searched as well, so the fixed value is never"),
        (
            {"baseline": True, "hyperparameters": {"lr0": 5}},
            "space.lr0: leaves out the baseline's value 5.0, which is trained all the same",
        ),
    ],
)
def test_what_is_allowed_but_of_no_use_is_warned_of(changes: dict[str, Any], text: str) -> None:
    assert [each for each in warnings(study(**changes)) if each.startswith(text)]


def test_a_sensible_study_has_no_warnings() -> None:
    sensible = study(data="digits-3", pruner="median", baseline=True, hyperparameters={"cls": 1, "lr0": 0.1})
    foreseeing = study(pruner="doomed", epochs=2, hyperparameters={"warmup_epochs": 0})
    grid = {"sampler": "grid", "space": {"lr0": {"choices": [0.1, *range(2, 9)]}}, "hyperparameters": {"lr0": 0.1}}

    assert warnings(sensible) == warnings(foreseeing) == warnings(study(baseline=True, **grid)) == []
    assert warnings(study(data="photos", space={"fliplr": {"low": 0, "high": 1}, "cls": {"low": 0, "high": 1}})) == []


def test_reading_a_study_loads_neither_optuna_nor_torch() -> None:
    read = "import sys, evolve.study.file as s; s.read_study('lr_sweep').preview()"
    code = f"{read}; print(sorted({{'optuna', 'torch'}} & set(sys.modules)))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


def test_a_study_of_one_trial_may_search_nothing_and_one_of_more_may_not() -> None:
    alone = {"name": "alone", "space": {}, "budget": {"trials": 1}}

    assert dict(Study.from_mapping(alone, origin="test").space) == {}
    with pytest.raises(StudyError, match=r"test: space: \{\} names no hyperparameter for 2 trials; known: \['lr0'"):
        Study.from_mapping(alone | {"budget": {"trials": 2}}, origin="test")


def test_a_study_that_was_stored_before_defaults_changed_keeps_those_it_began_with(tmp_path: Path) -> None:
    before = {key: value for key, value in study().to_mapping().items() if key != "defaults"}
    stored = Study.from_json(json.dumps(before))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump({"name": stored.name, "space": before["space"], "budget": before["budget"]}))

    again = read_study(str(path)).settled_like(stored)

    assert (stored.hyperparameters({}).coding, study().hyperparameters({}).coding) == ("exp", "bounded")
    assert again.defaults == stored.defaults == 1 and again.hyperparameters({}) == stored.hyperparameters({})
    with pytest.raises(StudyError, match="defaults: 3 is no generation of defaults; allowed: 1 to 2"):
        Study.from_mapping({**before, "defaults": 3}, origin="x")
