"""`evolve ablate` as a person types it: planned, run, killed, continued, and told without training."""

from __future__ import annotations

import csv
import json
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.processes import evolve, running

# Three arms of six seeds, each a training of two steps; the third turns to NaN.
STUDY = """
ablation:
  question: Does a higher rate help?
  arms: {fast: {lr0: 0.02}, mad: {lr0: 1.0e+5}}
  seeds: 7
data: photos
epochs: 2
batch_size: 16
hyperparameters: {box: 1.0, warmup_epochs: 0, clip_norm: 0, coding: exp, cells: centre, box_loss: squared_error}
thresholds: {floor: 0.0}
"""


def write_study(folder: Path) -> None:
    from tests.evolve.commands.test_my_data import write_voc

    write_voc(folder / "photos", 20, data="digits-1")
    (folder / "toy.yaml").write_text(STUDY)


def num_trained(folder: Path) -> int:
    """Trainings that have ended, as far as the database says."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{folder}/runs/evolve.db?mode=ro", uri=True)) as opened:
        return int(opened.execute("select count(*) from evolve_training where verdict is not null").fetchone()[0])
    return 0


def shown(folder: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evolve(folder, "ablate", "toy", "--json", *arguments).stdout)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the ablation has run to its end, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder)
    evolve(folder, "ablate", "toy.yaml", "--workers", "1")
    return folder


def test_every_seed_of_every_arm_is_trained_also_after_one_diverged(trained: Path) -> None:
    runs = shown(trained)["runs"]

    assert [(run["arm"], run["seed"]) for run in runs] == [
        (arm, seed) for arm in ("baseline", "fast", "mad") for seed in range(7)
    ]
    assert {run["arm"]: run["outcome"] for run in runs} == {
        "baseline": "finished",
        "fast": "finished",
        "mad": "diverged",
    }
    assert all(run["outcome"] == "diverged" for run in runs if run["arm"] == "mad")


def test_what_is_trained_is_told_again_without_training(trained: Path) -> None:
    before = (trained / "runs/evolve.db").stat().st_mtime_ns

    said = evolve(trained, "ablate", "toy").stdout
    markdown = evolve(trained, "ablate", "toy.yaml", "--markdown").stdout
    evolve(trained, "ablate", "toy", "--csv", "effects.csv")

    assert "Does a higher rate help?" in said and "7 seeds paired with the baseline's" in said
    assert "The interval of" not in said  # fast has all pairs, and mad none
    assert "\nmad " in said and "it diverged 7 times, baseline 0 times" in said
    assert markdown.startswith("| arm | n |") and "corrected over 2 arms (Holm)" in markdown
    with (trained / "effects.csv").open() as file:
        assert [row["arm"] for row in csv.DictReader(file)] == ["fast", "mad"]
    assert (trained / "runs/evolve.db").stat().st_mtime_ns == before


def test_the_report_of_an_ablation_begins_with_what_it_was_asked(trained: Path) -> None:
    report = (trained / "runs/toy/report.html").read_text()

    assert all(f'<section id="{key}"' in report for key in ("effects", "paired", "arm_curves"))
    assert "Does a higher rate help?" in report


def test_an_ablation_whose_driver_is_killed_in_the_middle_ends_in_the_same_numbers(
    trained: Path, tmp_path: Path
) -> None:
    write_study(tmp_path)
    for count in (4, 17):  # among the seeds of the first arm, and of the one that diverges
        with running(tmp_path, "ablate", "toy.yaml", "--workers", "1") as driver:
            driver.wait_until(lambda count=count: num_trained(tmp_path) >= count)
            driver.send(signal.SIGKILL)
            driver.ended()

    assert num_trained(tmp_path) < 21
    evolve(tmp_path, "ablate", "toy.yaml", "--workers", "1")
    assert shown(tmp_path)["runs"] == shown(trained)["runs"]


def test_the_plan_says_arms_seeds_and_cost_and_trains_nothing(tmp_path: Path) -> None:
    write_study(tmp_path)

    said = evolve(tmp_path, "ablate", "toy.yaml", "--plan").stdout

    assert "arm      baseline" in said and "lr0 1e+05" in said
    assert "cost: 3 trials x 7 seeds x 2 steps" in said and "next    evolve ablate toy.yaml" in said
    assert not (tmp_path / "runs/evolve.db").exists()


def test_a_study_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    refused = evolve(tmp_path, "ablate", "lr_sweep", "--plan", check=False)

    assert refused.returncode == 2 and "lr_sweep: has no ablation, so it compares no arms" in refused.stderr


def test_a_stored_ablation_says_what_it_takes_in_the_words_that_were_typed(trained: Path) -> None:
    given = ("--epochs", "3", "--freeze", "2", "--name", "mine", "--skip-unreadable")
    refused = evolve(trained, "ablate", "toy", *given, check=False)

    options = "--epochs, --freeze, --name, --skip-unreadable"
    said = f"evolve ablate toy: the stored study says {options}; allowed: --seconds, --inspect"
    assert refused.returncode == 2 and said in refused.stderr


def test_a_stored_ablation_advises_no_command_that_it_refuses(trained: Path) -> None:
    of_file = evolve(trained, "ablate", "toy.yaml", "--plan").stderr
    of_stored = evolve(trained, "ablate", "toy", "--plan").stderr

    assert "--updates 600" in of_stored and " here: evolve ablate toy.yaml --plan --model" in of_file
    assert of_stored.splitlines()[-1].endswith(" here, with these changes beside its file and another --name")


def test_an_ablation_starts_from_weights_and_is_inspected_as_a_run_does(tmp_path: Path) -> None:
    write_study(tmp_path)

    missing = evolve(tmp_path, "ablate", "toy.yaml", "--plan", "--weights", "no.weights", check=False)
    planned = evolve(tmp_path, "ablate", "toy.yaml", "--plan", "--nms-iou", "0.5", "--inspect")

    assert missing.returncode != 0 and "no.weights" in missing.stderr
    assert "cost: 3 trials x 7 seeds" in planned.stdout


def test_a_comparison_is_shown_by_what_its_arms_say_and_has_no_best_trial(trained: Path) -> None:
    lines = evolve(trained, "show", "toy").stdout.splitlines()

    assert any(line.startswith("found   ") for line in lines) and not any(line.startswith("best ") for line in lines)
    assert any(line.startswith("export  ") and ", trial " in line for line in lines)
    assert lines[-1] == "next    evolve export toy"
