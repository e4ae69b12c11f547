"""`evolve confirm` as a person types it: planned, run, killed, continued, told without training, and exported."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from detector.hyperparameters import Hyperparameters
from evolve.study.hyp import read_hyp
from tests.processes import evolve, running

# Four trials of two steps, the first of them the defaults.
STUDY = """
data: photos
epochs: 2
batch_size: 16
hyperparameters: {box: 1.0, warmup_epochs: 0}
space:
  lr0: {choices: [0.01, 0.02, 0.03]}
sampler: random
baseline: true
budget: {trials: 6}
thresholds: {floor: 0.0}
"""
pytestmark = pytest.mark.timeout(900)  # a busy machine loads the program some twenty times
SEEDS = [1, 2, 3]
COMMAND = ("confirm", "toy", "--seeds", "3", "--top", "2", "--engine", "serial")


def searched(folder: Path) -> None:
    from tests.evolve.commands.test_my_data import write_voc

    write_voc(folder / "photos", 20, data="digits-1")
    (folder / "toy.yaml").write_text(STUDY)
    ended = evolve(folder, "run", "--study", "toy.yaml", "--engine", "serial").stdout
    assert re.search(r"^proof   not confirmed: found once among \d trials that .*; evolve confirm toy$", ended, re.M)


def num_trained(folder: Path) -> int:
    """Trainings of fresh seeds that have ended, as far as the database says."""
    query = "select count(*) from evolve_training where verdict is not null and seed > 0"
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{folder}/runs/evolve.db?mode=ro", uri=True)) as opened:
        return int(opened.execute(query).fetchone()[0])
    return 0


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evolve(folder, *COMMAND, "--json").stdout)
    return found


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a search and its confirmation have run to their end, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    searched(folder)
    assert "proof   not confirmed: found once among" in evolve(folder, "show", "toy").stdout
    assert "# Not confirmed: found once among" in (folder / "runs/toy/hyp.yaml").read_text()
    evolve(folder, *COMMAND)
    return folder


def test_the_best_and_the_defaults_are_trained_with_seeds_that_the_search_has_not_used(confirmed: Path) -> None:
    found = told(confirmed)
    arms = [candidate["arm"] for candidate in found["candidates"]]

    assert found["confirmation"] == "toy-confirm" and found["seeds"] == SEEDS and found["is_complete"]
    assert arms[0] == "baseline" and len(arms) == 3 and all(arm.startswith("trial ") for arm in arms[1:])
    assert [candidate["finished"] for candidate in found["candidates"]] == [3, 3, 3]
    for candidate in found["candidates"]:
        assert candidate["shrinkage"] == pytest.approx(candidate["found"] - candidate["mean"])
    assert found["rank_correlation"]["n"] == 3
    means = {candidate["arm"]: candidate["mean"] for candidate in found["candidates"]}
    assert found["best"] == max(means, key=lambda arm: means[arm])


def test_what_is_trained_is_told_again_at_once(confirmed: Path) -> None:
    before = (confirmed / "runs/evolve.db").stat().st_mtime_ns

    said = evolve(confirmed, *COMMAND).stdout

    assert "best    confirmed over 3 fresh seeds: " in said and "next    evolve export toy" in said
    assert (confirmed / "runs/evolve.db").stat().st_mtime_ns == before


def test_what_was_best_with_fresh_seeds_is_exported_and_named_everywhere(confirmed: Path) -> None:
    found = told(confirmed)
    (best,) = (candidate for candidate in found["candidates"] if candidate["arm"] == found["best"])

    exported = json.loads(evolve(confirmed, "export", "toy", "-o", "best.yaml", "--json").stdout)
    hyp = read_hyp(confirmed / "best.yaml")

    sentence = found["sentence"]
    assert sentence.startswith("confirmed over 3 fresh seeds: ")
    assert hyp.values == Hyperparameters(box=1.0, warmup_epochs=0, **best["params"])
    assert exported["standing"] == sentence and exported["best"]["fitness"] == pytest.approx(best["mean"])
    said = f"{sentence[0].upper()}{sentence[1:]}"
    head = f"# {said}"
    assert head in (confirmed / "best.yaml").read_text() and head in (confirmed / "runs/toy/hyp.yaml").read_text()
    assert f"proof   {sentence}" in evolve(confirmed, "show", "toy").stdout
    theirs = evolve(confirmed, "export", "toy", "--to", "yolov3", "--epochs", "200", "--batch-size", "4").stdout
    assert f"proof   {sentence}" in theirs and f"({best['arm'].replace('baseline', 'the defaults')}, fitness" in theirs
    assert said in (confirmed / "runs/toy/report.html").read_text()


def test_the_study_is_meant_where_its_confirmation_would_fit_as_well(confirmed: Path) -> None:
    assert "study   toy (the one trained last)" in evolve(confirmed, "show", "latest").stderr
    assert "study   toy (the only one that begins with to)" in evolve(confirmed, "show", "to").stderr


def test_more_seeds_are_another_confirmation_with_seeds_beyond_those(confirmed: Path, tmp_path: Path) -> None:
    said = evolve(confirmed, "confirm", "toy", "--seeds", "4", "--top", "1", "--plan").stdout

    assert "study    toy-confirm-2" in said and "seeds [4, 5, 6, 7]" in said
    assert "cost: 2 trials x 4 seeds" in said and "6 or more can" in said
    assert told(confirmed)["confirmation"] == "toy-confirm"


def test_data_that_have_changed_since_the_search_are_refused(confirmed: Path) -> None:
    label = confirmed / "photos/annotations/0.xml"
    before = label.read_text()
    label.write_text(re.sub("<object>.*?</object>", "", before, count=1))

    refused = evolve(confirmed, "confirm", "toy", "--top", "1", check=False)
    label.write_text(before)

    assert refused.returncode == 2
    assert "study toy: the data are not what earlier trials were trained on" in refused.stderr


def test_a_confirmation_that_is_killed_in_the_middle_ends_in_the_same_numbers(confirmed: Path, tmp_path: Path) -> None:
    searched(tmp_path)
    with running(tmp_path, *COMMAND) as driver:
        driver.wait_until(lambda: num_trained(tmp_path) >= 2)  # among the seeds of the first
        driver.send(signal.SIGKILL)
        driver.ended()

    assert num_trained(tmp_path) < 9
    evolve(tmp_path, *COMMAND)
    again, whole = told(tmp_path), told(confirmed)
    assert again == whole


def test_a_training_that_searched_nothing_is_refused(confirmed: Path) -> None:
    evolve(confirmed, "train", "--hyp", "runs/toy/hyp.yaml", "--epochs", "1", "--name", "alone")

    refused = evolve(confirmed, "confirm", "alone", check=False)

    assert refused.returncode == 2 and "study alone: searches nothing" in refused.stderr
