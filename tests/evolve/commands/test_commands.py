"""The commands around studies that are stored, in this process and on studies that were never trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dashboards.state import PageState, to_address
from evolve.cli import app
from evolve.errors import EvolveError, StorageError
from tests.synthetic import Plan, add_study, new_engine

Evolve = Callable[..., Result]


@pytest.fixture(scope="module")
def two_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that no test changes."""
    path = tmp_path_factory.mktemp("two") / "evolve.db"
    engine = new_engine(path)
    add_study(engine, Plan(name="lr_sweep-raccoon-10ep", num_trials=6))
    add_study(engine, Plan(name="gains", num_trials=1, verdicts=["converged"]))
    engine.dispose()
    return path


@pytest.fixture
def evolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_studies: Path) -> Evolve:
    """Runs a command in a folder whose database holds two studies; what goes wrong is raised."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.copy(two_studies, tmp_path / "runs/evolve.db")

    def run(*arguments: str, **settings: Any) -> Result:
        return CliRunner().invoke(app, arguments, catch_exceptions=False, **settings)

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "lr_sweep"),
        ("report", "lr_sweep"),
        ("export", "lr_sweep"),
        ("export", "--study", "lr_sweep"),
        ("note", "lr_sweep", "0", "odd"),
    ],
    ids=" ".join,
)
def test_the_beginning_of_a_name_is_enough_and_the_study_taken_is_said(
    evolve: Evolve, arguments: tuple[str, ...]
) -> None:
    done = evolve(*arguments, "--json")

    assert done.stderr == "study   lr_sweep-raccoon-10ep (the only one that begins with lr_sweep)\n"
    result = json.loads(done.stdout)
    assert (result[0] if isinstance(result, list) else result)["study"] == "lr_sweep-raccoon-10ep"


def test_a_whole_name_is_taken_in_silence(evolve: Evolve) -> None:
    assert evolve("show", "gains").stderr == ""


def test_the_report_of_a_study_lies_in_the_folder_of_its_whole_name(evolve: Evolve, tmp_path: Path) -> None:
    done = evolve("report", "latest")

    assert "(the one trained last)" in done.stderr
    assert (tmp_path / "runs/lr_sweep-raccoon-10ep/report.html").exists()
    assert done.stdout.endswith("next    evolve export lr_sweep-raccoon-10ep\n")


def test_a_misspelt_study_is_answered_with_the_one_probably_meant(evolve: Evolve) -> None:
    with pytest.raises(StorageError, match="did you mean 'gains'"):
        evolve("show", "gain_s")


def test_the_dashboard_opens_at_the_page_of_the_study(evolve: Evolve, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(storage: str, *, announce: Callable[[str], None], page: PageState, **_: object) -> None:
        announce(f"http://127.0.0.1:8050{to_address(page)}")

    monkeypatch.setattr("dashboards.live.server.serve", serve)

    told = json.loads(evolve("dashboard", "lr", "--json").stdout)

    page = "http://127.0.0.1:8050/study?study=lr_sweep-raccoon-10ep"
    assert told == {"address": page, "study": "lr_sweep-raccoon-10ep"}
    assert json.loads(evolve("dashboard", "--json").stdout) == {"address": "http://127.0.0.1:8050/"}


def test_a_token_that_shows_in_the_list_of_processes_is_remarked_on(
    evolve: Evolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.live.server.serve", lambda *_, **__: None)

    assert "EVOLVE_TOKEN does not" in evolve("dashboard", "--token", "twelve signs").stderr
    assert evolve("dashboard", env={"EVOLVE_TOKEN": "twelve signs"}).stderr == ""


def test_a_dashboard_of_a_study_that_is_not_there_does_not_start(evolve: Evolve) -> None:
    with pytest.raises(StorageError, match="is not in"):
        evolve("dashboard", "nothing")
    with pytest.raises(EvolveError, match="there is no such file"):
        evolve("dashboard", "gains", "--storage", "sqlite:///elsewhere.db")


def test_show_fits_the_terminal_and_wide_shows_all(evolve: Evolve) -> None:
    narrow = evolve("show", "lr", env={"COLUMNS": "60"}).stdout
    wide = evolve("show", "lr", "--wide", env={"COLUMNS": "60"}).stdout

    assert max(map(len, narrow.splitlines())) <= 60
    assert "left out (--wide" in narrow and "left out" not in wide and "schedule" in wide
    assert narrow.startswith("study   lr_sweep-raccoon-10ep: Where does the learning …\n")


def test_show_tells_programs_all_that_is_stored_of_each_trial(evolve: Evolve) -> None:
    evolve("note", "gains", "0", "good", "--tag", "keep")

    (row,) = json.loads(evolve("show", "gains", "--json").stdout)

    assert {"trial", "verdict", "fitness", "params", "reason"} <= set(row)
    assert set(row["metrics"]) == {"val", "test"}
    assert set(row["metrics"]["val"]) == {"precision", "recall", "map50", "map50_95"}
    assert row["by_seed"]["0"]["test"] == row["metrics"]["test"]
    assert row["seeds"] == [0] and row["seconds"] > 0 and row["diagnosis"] is None
    assert row["notes"][0]["text"] == "good" and row["notes"][0]["tag"] == "keep"


def test_show_says_where_the_time_went_in_a_line_and_on_request_in_numbers_that_add_up(evolve: Evolve) -> None:
    line = next(line for line in evolve("show", "lr").stdout.splitlines() if line.startswith("time "))
    table = evolve("show", "lr", "--time").stdout
    numbers = json.loads(evolve("show", "lr", "--time", "--json").stdout)

    assert "of workers: " in line and "% training, " in line and "% waiting" in line
    assert "waiting" in table and "2 workers on node-7, cuda" in table
    assert numbers["study"] == "lr_sweep-raccoon-10ep"
    parts = [numbers[name] for name in ("training", "validating", "lost", "waiting")]
    assert sum(parts) == pytest.approx(numbers["worker_seconds"]) and min(parts) >= 0
    (run,) = numbers["runs"]
    assert numbers["worker_seconds"] == pytest.approx(run["workers"] * run["seconds"])
    by_verdict = numbers["by_verdict"].values()
    assert sum(each["training"] for each in by_verdict) == pytest.approx(numbers["training"])


def test_show_with_a_number_tells_all_about_that_trial(evolve: Evolve) -> None:
    text = evolve("show", "gains", "0").stdout
    row = json.loads(evolve("show", "gains", "0", "--json").stdout)

    assert text.startswith("trial       0 of study gains\nverdict     converged\n")
    assert row["trial"] == 0 and row["study"] == "gains"
    with pytest.raises(StorageError, match="has no trial 5; its trials are 0 to 0"):
        evolve("show", "gains", "5")


def test_backtest_tries_every_rule_on_what_nobody_stopped_and_counts_the_rest_apart(evolve: Evolve) -> None:
    done = evolve("backtest", "lr_sweep", "--json")

    result = json.loads(done.stdout)
    assert result["study"] == "lr_sweep-raccoon-10ep"
    assert [each["rule"] for each in result["rules"]][:2] == ["doomed", "doomed, at once"] and len(result["rules"]) == 7
    (counts,) = {(each["hits"]["total"], each["alarms"]["total"]) for each in result["rules"]}
    assert sum(counts) + sum(result["left_out"].values()) == 5  # the sixth is running
    assert result["warnings"]["sustained"] == 1


def test_backtest_says_the_same_as_a_table_and_what_comes_next(evolve: Evolve) -> None:
    done = evolve("backtest", "gains")

    lines = done.stdout.splitlines()
    assert lines[0] == "study   gains: 1 training that nobody stopped"
    assert lines[2].split("  ")[0] == "rule" and lines[3].startswith("doomed ")
    assert "evolve report gains" in done.output


def test_levels_are_not_fitted_to_a_handful_of_trainings(evolve: Evolve) -> None:
    with pytest.raises(EvolveError, match=r"--fit: \d+ healthy trainings; a probability of 0.05 needs 19"):
        evolve("backtest", "lr_sweep", "--fit", "0.05")
