"""Results of other trainers become studies: trials in Optuna's tables and ours, or an error with its place."""

import json
import math
import sys

import pytest
import yaml
from sqlalchemy import create_engine

from dashboards.data.study_loading import load
from evolve import cli
from evolve.errors import StudyError
from evolve.exchange.dialects import Context, DialectError, yolov3
from evolve.exchange.result_files import read_results
from evolve.exchange.results import Origin, import_results
from evolve.search.samplers import DIVERGED, make_sampler
from evolve.storage.database import Storage

METRICS = (
    *("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"),
    *("val/box_loss", "val/obj_loss", "val/cls_loss"),
)
HYP = {name: float(text) for name, text in yolov3.DEFAULTS.items()}
GOOD = (0.6, 0.5, 0.7, 0.4, 0.05, 0.02, 0.01)
NOT_A_NUMBER = (math.nan,) * 7


def evolve_csv(*rows):
    """Rows of results and changed hyperparameters, written as evolve.csv is."""
    lines = [",".join(f"{name:>20}" for name in (*METRICS, *HYP))]
    lines += [
        ",".join(f"{value:20.5g}" for value in (*results, *(HYP | changed).values())) for results, changed in rows
    ]
    return "\n".join(lines) + "\n"


def results_csv(*epochs):
    head = "epoch,train/box_loss,train/obj_loss,train/cls_loss," + ",".join(METRICS) + ",x/lr0,x/lr1,x/lr2"
    lines = [f"{number},0.05,0.02,0.01," + ",".join(map(str, each)) + ",0.003,0.003,0.07" for number, each in epochs]
    return "\n".join([head, *lines]) + "\n"


@pytest.fixture
def storage(tmp_path):
    opened = Storage(f"sqlite:///{tmp_path}/evolve.db")
    yield opened
    opened.close()


def imported(storage, tmp_path, name, text, context=None):
    path = tmp_path / name
    path.write_text(text)
    results = read_results(text, origin=str(path))
    return import_results(storage, results, context or Context(), name="theirs", origin=Origin(path=path))


def optuna_trials(storage):
    return storage.optuna.get_all_trials(storage.study_id("theirs"))


def test_an_evolve_csv_becomes_a_study_of_what_varied(storage, tmp_path):
    text = evolve_csv((GOOD, {}), ((0.1, 0.1, 0.2, 0.1, 1, 1, 1), {"lr0": 0.2, "box": 0.1}))

    done = imported(storage, tmp_path, "evolve.csv", text)

    assert list(done.study.space) == ["lr0", "box"]
    assert (done.study.space["lr0"].low, done.study.space["lr0"].high, done.study.space["lr0"].log) == (0.01, 0.2, True)
    assert done.study.fixed["momentum"] == 0.937
    first, second = optuna_trials(storage)
    assert first.value == pytest.approx(0.1 * 0.7 + 0.9 * 0.4)
    assert second.params == {"lr0": 0.2, "box": 0.1}
    assert storage.verdicts(storage.study_id("theirs")) == {0: "converged", 1: "converged"}
    (epochs,) = storage.records.epochs(first._trial_id).values()
    assert (epochs[-1].map50_95, epochs[-1].losses["box"]) == (0.4, 0.05)


def test_gains_of_an_evolve_csv_are_those_their_trainer_used(storage, tmp_path):
    text = evolve_csv((GOOD, {}), (GOOD, {"obj": 2.0, "obj_pw": 1.5}))
    context = Context(model="yolov3-tiny", image_size=320)

    imported(storage, tmp_path, "evolve.csv", text, context)

    assert optuna_trials(storage)[1].params == {"obj": 2.0 * 0.25 * 1.5 * 1.5, "noobj": 2.0 * 0.25 * 1.5}


def test_a_row_of_nan_is_a_diverged_trial_and_never_the_best(storage, tmp_path):
    text = evolve_csv((NOT_A_NUMBER, {"lr0": 0.5}), (GOOD, {}), ((0,) * 7, {"lr0": 0.001}))

    done = imported(storage, tmp_path, "evolve.csv", text)

    assert done.verdicts == {"converged": 1, "diverged": 1, "undertrained": 1}
    assert done.best == (1, pytest.approx(0.43))
    assert optuna_trials(storage)[0].constraints == {DIVERGED: 1.0}
    outcome = storage.outcome(optuna_trials(storage)[0]._trial_id)
    assert math.isnan(outcome.fitness)
    assert "evolve.csv line 2" in outcome.reason
    assert storage.records.trainings(optuna_trials(storage)[0]._trial_id)[0].verdict == "diverged"


def test_a_sampler_goes_on_from_imported_trials(storage, tmp_path):
    rows = [((0.5, 0.5, lr0, lr0, 1, 1, 1), {"lr0": lr0}) for lr0 in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)]
    done = imported(storage, tmp_path, "evolve.csv", evolve_csv(*rows))
    import optuna

    study = optuna.load_study(study_name="theirs", storage=storage.optuna, sampler=make_sampler(done.study))
    trial = study.ask(fixed_distributions=done.study.space.distributions())

    assert trial.number == 6
    assert 0.001 <= trial.params["lr0"] <= 0.3


def test_pages_can_be_made_of_an_imported_study(storage, tmp_path):
    imported(storage, tmp_path, "evolve.csv", evolve_csv((GOOD, {}), (NOT_A_NUMBER, {"lr0": 0.1})))

    view = load(create_engine(storage.url), "theirs")

    assert list(view.trials["verdict"]) == ["converged", "diverged"]
    assert view.trials["map50_95"][0] == 0.4


def test_an_old_evolve_txt_is_told_by_its_number_of_columns(storage, tmp_path):
    hyp = [
        3.54,
        37.4,
        1.0,
        64.3,
        1.0,
        0.2,
        0.01,
        0.0005,
        0.937,
        0.000484,
        0,
        0.0138,
        0.678,
        0.36,
        1.98,
        0.05,
        0.05,
        0.6,
    ]
    v8 = "".join(f"{value:10.3g}" for value in [0.5, 0.4, 0.6, 0.45, 1, 2, 3, *hyp]) + "\n"

    done = imported(storage, tmp_path, "evolve.txt", v8 + v8.replace("0.01 ", "0.02 "))

    assert done.study.fitness.map50_95 == 0
    assert optuna_trials(storage)[0].value == pytest.approx(0.01 * 0.4 + 0.99 * 0.6)
    assert done.study.fixed["schedule"] == "cosine"  # lrf is not read by v8


def test_an_evolve_txt_of_v9_has_metrics_and_keys_of_v9(storage, tmp_path):
    line = "".join(f"{value:10.3g}" for value in [*GOOD, *HYP.values()]) + "\n"

    done = imported(storage, tmp_path, "evolve.txt", line)

    assert optuna_trials(storage)[0].value == pytest.approx(0.43)
    assert list(done.study.space) == ["lr0"]  # nothing varied: a search around it
    assert any("sorted by fitness" in note for note in done.notes)


def test_columns_of_an_unknown_evolve_txt_can_be_named():
    line = "0.5 0.4 0.6 0.3 1 2 3 0.01 0.1 3\n"

    with pytest.raises(
        DialectError, match=r"evolve\.txt:1:32: 10 values; versions are known with \[15, 16, 25, 34, 35\]"
    ):
        read_results(line, origin="evolve.txt")
    found = read_results(line, origin="evolve.txt", columns=["lr0", "lrf", "warmup_epochs"])

    assert (found.dialect, found.rows[0].keys.text("lrf"), found.rows[0].metrics["map50_95"]) == ("yolov3", "0.1", 0.3)


def test_tune_results_of_both_kinds_have_their_own_fitness(storage, tmp_path):
    first = {"iteration": 1, "fitness": 0.3, "hyperparameters": {"lr0": 0.01, "momentum": 0.9}}
    metrics = {"metrics/mAP50(B)": 0.5, "metrics/mAP50-95(B)": 0.3, "metrics/precision(B)": 1, "metrics/recall(B)": 1}
    first["datasets"] = {"a": metrics, "b": metrics | {"metrics/mAP50(B)": 0.7}}
    second = {"fitness": math.nan, "hyperparameters": {"lr0": 0.5, "momentum": 0.9}, "datasets": {}}
    third = {"fitness": 0.0, "hyperparameters": {"lr0": 0.2, "momentum": 0.9}, "failed_datasets": ["a", "b"]}

    done = imported(storage, tmp_path, "tune_results.ndjson", "\n".join(map(json.dumps, (first, second, third))))

    assert done.verdicts == {"converged": 1, "diverged": 1, "failed": 1}
    trial = optuna_trials(storage)[0]
    assert trial.value == 0.3
    assert storage.records.epochs(trial._trial_id)[0][-1].map50 == pytest.approx(0.6)
    table = read_results("fitness,lr0,box\n0.25,0.01,7.5\n", origin="tune_results.csv")
    assert (table.dialect, table.rows[0].fitness, list(table.rows[0].keys)) == ("ultralytics", 0.25, ["lr0", "box"])


def test_a_results_csv_is_one_trial_with_its_epochs_and_the_hyp_beside_it(storage, tmp_path):
    (tmp_path / "hyp.yaml").write_text(yaml.safe_dump(HYP | {"lr0": 0.02}))

    imported(storage, tmp_path, "results.csv", results_csv((0, (0.1,) * 7), (1, GOOD)))

    (trial,) = optuna_trials(storage)
    assert trial.params == {"lr0": 0.02}
    (epochs,) = storage.records.epochs(trial._trial_id).values()
    assert [each.map50_95 for each in epochs] == [0.1, 0.4]
    assert epochs[0].train_losses["obj"] == 0.02


def test_a_results_csv_alone_tells_its_learning_rate_without_the_ramp_of_biases(storage, tmp_path):
    imported(storage, tmp_path, "results.csv", results_csv((0, GOOD), (1, NOT_A_NUMBER)))

    assert optuna_trials(storage)[0].params == {"lr0": 0.003}
    assert storage.verdicts(storage.study_id("theirs")) == {0: "diverged"}


def test_nothing_is_left_of_an_import_that_fails(storage, tmp_path, monkeypatch):
    def broken(*_arguments):
        raise OSError("disk full")

    monkeypatch.setattr("evolve.exchange.results._write_rows", broken)
    with pytest.raises(OSError, match="disk full"):
        imported(storage, tmp_path, "evolve.csv", evolve_csv((GOOD, {})))

    assert storage.study_names() == []


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        (
            "evolve.csv",
            evolve_csv((GOOD, {})).replace("0.937", "x.937"),
            r"evolve\.csv:2:205: momentum: 'x.937' is not",
        ),
        ("evolve.csv", evolve_csv((GOOD, {})).replace("0.7,", "o.7,", 1), r"evolve\.csv:2:60: metrics/mAP_0.5: 'o.7'"),
        ("evolve.csv", "a,b\n1,2,3\n", r"evolve\.csv:2:5: 3 values in a table of 2 columns"),
        ("evolve.csv", "a,b\n1,2\n", r"evolve\.csv:1:1: columns \['metrics/precision'"),
        ("evolve.csv", "a,a\n1,2\n", r"evolve\.csv:1:3: column 'a' is given twice"),
        ("evolve.csv", "", r"evolve\.csv:1:1: holds 0 lines"),
        ("evolve.csv", evolve_csv((GOOD, {"momentum": 2})), r"evolve\.csv:2:209: momentum: 2.0 is outside"),
        ("results.csv", "epoch,a\n1,2\n", r"results\.csv:1:1: has no metrics"),
        ("tune.ndjson", '{"fitness": 1,}\n', r"tune\.ndjson:1:1\d: is not JSON"),
        ("tune.ndjson", '{"fitness": 1}\n', r"tune\.ndjson:1:1: hyperparameters: is missing"),
        ("tune.ndjson", '{"hyperparameters": {"lr0": 1}, "fitness": "a"}\n', r"tune\.ndjson:1:33: fitness: 'a'"),
        ("tune.ndjson", '{"hyperparameters": {"lr0": "a"}, "fitness": 1}\n', r"tune\.ndjson:1:22: lr0: 'a' is not"),
        ("evolve.txt", "1 2\n", r"evolve\.txt:1:3: 2 values"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_line_and_column(storage, tmp_path, name, text, place):
    with pytest.raises(DialectError, match=place):
        imported(storage, tmp_path, name, text)

    assert storage.study_names() == []


# The command line


@pytest.fixture
def evolve(tmp_path, monkeypatch, capsys):
    """Runs the command line in an empty folder; returns exit status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evolve", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_their_results_go_in_and_a_hyp_for_each_trainer_comes_out(evolve, tmp_path):
    (tmp_path / "evolve.csv").write_text(evolve_csv((GOOD, {}), (NOT_A_NUMBER, {"lr0": 0.1})))

    status, out, _ = evolve("import", "evolve.csv", "--classes", 3, "--images", 800, "--epochs", 30)
    assert (status, out.splitlines()[-1]) == (0, "next    evolve show import-evolve")

    for dialect in ("native", "yolov3", "yolov3-early", "ultralytics"):
        status, out, _ = evolve("export", "--study", "import-evolve", "--to", dialect, "-o", f"{dialect}.yaml")
        assert (status, out.splitlines()[-1].split()[:2]) == (0, ["next", "evolve"])
    status, out, _ = evolve("export", "import-evolve", "--to", "darknet", "--schedule", "steps", "--json")
    assert json.loads(out)["hyp"] == "runs/import-evolve/net.cfg"
    theirs = yaml.safe_load((tmp_path / "yolov3.yaml").read_text())
    assert {name: value for name, value in theirs.items() if name != "mosaic"} == pytest.approx(
        {name: value for name, value in HYP.items() if name != "mosaic"}
    )


def test_a_hyp_file_goes_in_and_is_explained(evolve, tmp_path):
    (tmp_path / "hyp.yaml").write_text(yaml.safe_dump(HYP))

    status, out, _ = evolve("import", "hyp.yaml", "--classes", 1, "-o", "ours.yaml")
    assert (status, out.splitlines()[-1]) == (0, "next    evolve train --hyp ours.yaml")
    assert yaml.safe_load((tmp_path / "ours.yaml").read_text())["cls"] == 0.5 / 80

    context = ("--images", 64, "--classes", 1, "--batch", 16, "--epochs", 10)
    status, out, _ = evolve("explain", "hyp.yaml", "--to", "yolov3", *context, "--json")
    found = json.loads(out)
    assert status == 0
    assert {"iou_t", "cls", "warmup_epochs"} <= set(found["no_effect"])
    assert "longer than the training of 40" in found["problems"][0]
    status, out, _ = evolve("explain", "hyp.yaml", "--to", "ultralytics", *context)
    assert "is of yolov3, converted first" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("export",), 2, "no study is named"),
        (("export", "a", "--study", "b"), 2, "name one study"),
        (("export", "theirs", "--to", "yolov5"), 2, "unknown dialect 'yolov5'; did you mean 'yolov3'?"),
        (("export", "theirs", "--to", "native", "--epochs", "3"), 2, "--epochs: have no use with --to native"),
        (("export", "theirs", "--to", "darknet"), 2, "say how many: --images and --classes"),
        (("export", "theirs", "--to", "darknet", "--images", "9", "--classes", "1"), 2, "allowed: schedule steps"),
        (("export", "theirs", "--to", "yolov3", "--schedule", "sine"), 2, "--schedule: 'sine' is not one of"),
        (("import", "hyp.yaml", "--name", "x"), 2, "--name: hyp.yaml is a hyp file"),
        (("import", "evolve.csv", "--from", "yolov3"), 2, "--from: evolve.csv is a result file"),
        (("import", "evolve.csv", "--name", "theirs"), 2, "choose another --name"),
        (("import", "evolve.csv", "--image-size", "100"), 2, "--image-size: 100 is not a positive multiple"),
        (("import", "none.yaml"), 1, "none.yaml: cannot be read"),
        (("explain", "hyp.yaml", "--classes", "0"), 2, "--classes: 0 is not at least 1"),
        (("explain", "hyp.yaml", "--to", "caffe"), 2, "unknown dialect 'caffe'"),
    ],
)
def test_misuse_is_said_with_its_exit_status(evolve, tmp_path, arguments, status, message):
    (tmp_path / "evolve.csv").write_text(evolve_csv((GOOD, {})))
    (tmp_path / "hyp.yaml").write_text(yaml.safe_dump(HYP))
    assert evolve("import", "evolve.csv", "--name", "theirs")[0] == 0

    found, _, error = evolve(*arguments)

    assert (found, message in error) == (status, True), error


ARGS = "lr0: 0.01\noptimizer: SGD\nepochs: 40\nbatch: 8\nnbs: 16\nimgsz: 320\n"
TRAINING = "training: {model: yolov3-tiny, image_size: 96, batch_size: 4, nominal_batch_size: 8, epochs: 7}\n"
NET = "[net]\nbatch=64\nsubdivisions=16\nwidth=416\nheight=416\nburn_in=0\npolicy=constant\nmax_batches=9\n"


def assumed_by(notes):
    (note,) = (note for note in notes if note.startswith("assumed: "))
    return note


def test_what_a_file_says_itself_is_not_assumed(evolve, tmp_path):
    files = {"args.yaml": ARGS, "ours.yaml": f"lr0: 0.01\nignore_iou: 0.5\n{TRAINING}", "net.cfg": NET}
    kept = {"args.yaml": "--model", "ours.yaml": "--classes", "net.cfg": "--model"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)

        status, out, _ = evolve("explain", name, "--to", "yolov3", "--json")

        note = assumed_by(json.loads(out)["notes"])
        assert status == 0
        assert kept[name] in note and "--images" in note
        for option in ("--nominal-batch-size", "--batch-size", "--image-size"):
            assert option not in note, name
        assert ("--epochs" in note) == (name == "net.cfg")


def test_what_a_file_says_itself_is_what_the_explanation_reckons_with(evolve, tmp_path):
    (tmp_path / "ours.yaml").write_text(f"lr0: 0.01\nignore_iou: 0.5\nwarmup_epochs: 2.0\n{TRAINING}")

    _, out, _ = evolve("explain", "ours.yaml", "--to", "native", "--images", 100, "--json")

    used = {each["name"]: each["used"] for each in json.loads(out)["used"]}
    assert used["update"] == "every 8 images"
    assert used["warm-up"] == "50 iterations"


def test_an_option_that_differs_from_the_file_is_told_which_of_them_counts(evolve, tmp_path):
    (tmp_path / "args.yaml").write_text(ARGS)

    _, out, _ = evolve("import", "args.yaml", "--batch-size", 32, "-o", "ours.yaml", "--json")

    notes = json.loads(out)["notes"]
    assert "--batch-size 32: args.yaml says 8, and is read with that." in notes
    training = yaml.safe_load((tmp_path / "ours.yaml").read_text())["training"]
    assert (training["batch_size"], training["nominal_batch_size"], training["epochs"]) == (32, 16, 40)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epochs: many}", "ours.yaml: training.epochs: 'many' is not a whole number"),
        ("training: {image_size: 100}", "ours.yaml: image_size: 100 is not a positive multiple of 32"),
        ("training: {model: yolov9}", "ours.yaml: model: 'yolov9'"),
    ],
)
def test_a_training_section_that_is_not_allowed_is_said_of_the_file(evolve, tmp_path, text, message):
    (tmp_path / "ours.yaml").write_text(f"lr0: 0.01\nignore_iou: 0.5\n{text}\n")

    status, _, error = evolve("explain", "ours.yaml")

    assert (status != 0, message in error) == (True, True), error


def test_an_image_size_that_the_trainer_would_change_is_not_taken(evolve, tmp_path):
    (tmp_path / "args.yaml").write_text(ARGS.replace("320", "333").replace("batch: 8", "batch: -1"))

    status, out, _ = evolve("explain", "args.yaml", "--to", "ultralytics", "--json")

    assert status == 0
    assert {"--image-size 640", "--batch-size 16"} <= set(
        assumed_by(json.loads(out)["notes"])[9:].rstrip(".").split(", ")
    )


def test_a_database_that_has_a_study_of_that_name_is_named_without_its_password(storage, tmp_path):
    text = evolve_csv((GOOD, {}))
    imported(storage, tmp_path, "evolve.csv", text)
    storage.url = "postgresql+psycopg://me:secret@host/x"

    with pytest.raises(StudyError, match=r"theirs: is in postgresql\+psycopg://me:\*\*\*@host/x already; choose"):
        imported(storage, tmp_path, "evolve.csv", text)
