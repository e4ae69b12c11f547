"""What a search says of itself, on the command line: shown, for machines, and followed word for word."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from evolve.study.file import read_study
from tests.processes import evolve
from tests.synthetic import Plan, add_study, new_engine

# The best rate of these made-up studies is about 0.12, far above this space.
TOO_LOW = {
    "lr0": FloatDistribution(1e-4, 0.03, log=True),
    "momentum": FloatDistribution(0.6, 0.98),
    "schedule": CategoricalDistribution(["linear", "cosine"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("found")
    (found / "runs").mkdir()
    engine = new_engine(found / "runs/evolve.db")
    add_study(engine, Plan(name="low", space=TOO_LOW, num_trials=60, log_steps=False))
    add_study(engine, Plan(name="fresh", num_trials=1, log_steps=False))
    changes = {"lr0": CategoricalDistribution([0.01, 0.1]), "momentum": CategoricalDistribution([0.937, 0.9])}
    screening = Plan(name="changes", space=changes, num_trials=40, verdicts=["converged"] * 40, log_steps=False)
    add_study(engine, replace(screening, screens=True))
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(evolve(folder, "show", "low", "--findings", "--json").stdout)
    return shown


def test_show_names_findings_beneath_the_trials_each_with_a_command(folder: Path, found: dict[str, Any]) -> None:
    text = evolve(folder, "show", "low").stdout

    assert "edge-lr0" in [finding["finding"] for finding in found["findings"]]
    for finding in found["findings"]:
        assert f"found   {finding['finding']}: {finding['text']}\n  try   {finding['next']}\n" in text
    assert found["standing"].startswith("not confirmed: found once among")


def test_show_has_the_changes_of_a_screening_in_a_table_and_names_what_follows(folder: Path) -> None:
    text = evolve(folder, "show", "changes").stdout
    shown = json.loads(evolve(folder, "show", "changes", "--findings", "--json").stdout)
    (found,) = (finding for finding in shown["findings"] if finding["finding"] == "screened")

    lines = [line.split() for line in text.splitlines()]
    (best,) = (words for words in lines if words[:3] == ["lr0", "0.1", "0.01"])
    assert best[-2:] == ["better", "yes"] and ["momentum", "0.9", "0.937"] in [words[:3] for words in lines]
    assert found["next"] == "evolve confirm changes --top 1" and f"try   {found['next']}\n" in text
    assert found["evidence"]["lr0_low"] < found["evidence"]["lr0_difference"] == pytest.approx(float(best[3]), abs=1e-4)


def test_the_proof_of_an_export_names_the_database_where_it_has_to_be_named(folder: Path) -> None:
    url = f"sqlite:///{folder}/runs/evolve.db"
    words = ["export", "low", "-o", "low.yaml"]

    assert "; evolve confirm low\n" in evolve(folder, *words).stdout
    assert f"; evolve confirm low --storage {url}\n" in evolve(folder, *words, "--storage", url).stdout


def test_every_command_of_a_finding_works_as_it_stands_and_leaves_a_study_that_can_be_run(
    folder: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for finding in found["findings"]:
        said = evolve(folder, *shlex.split(finding["next"])[1:]).stdout
        command = shlex.split(said.splitlines()[-1].removeprefix("next    "))
        study = read_study(command[command.index("--study") + 1]).preview()

        assert command[:2] == ["evolve", "run"] and study.name == f"low-{finding['finding']}"
    planned = evolve(folder, "run", "--study", "runs/low/edge-lr0.yaml", "--dry-run").stdout
    assert "space    lr0              0.0001 .. 0.52 (log)" in planned


def test_a_finding_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    refused = evolve(folder, "follow", "low", "edge-lr", check=False)

    assert refused.returncode == 2 and "study low: " in refused.stderr and "edge-lr0" in refused.stderr


def test_where_nothing_was_found_that_is_said(folder: Path) -> None:
    assert "study   fresh: nothing was found" in evolve(folder, "show", "fresh", "--findings").stdout
    assert "found   " not in evolve(folder, "show", "fresh").stdout
