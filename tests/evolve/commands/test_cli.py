"""The command line as a person uses it: real processes, a real database, real (small) trainings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from dashboards.blocks import Empty
from dashboards.data.reader import Reader
from dashboards.data.trial import TrialView
from dashboards.questions import trial_files
from dashboards.state import PageState
from evolve.cli import app
from evolve.commands.training import _stop_signals
from tests.places import RACCOON, ROOT
from tests.processes import environment, evolve, running
from tests.small_study import SMALL


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder in which the small study has been run, and what the run said."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "small.yaml").write_text(SMALL)
    return folder, json.loads(evolve(folder, "run", "--study", "small.yaml", "--json").stdout)


def test_a_run_leaves_database_report_hyp_and_the_best_weights(done: tuple[Path, dict[str, object]]) -> None:
    folder, result = done

    assert result["is_complete"] and result["verdicts"] == {"diverged": 1, "undertrained": 1}
    best = result["best"]
    assert isinstance(best, dict) and best["params"] == {"lr0": 0.01}
    assert set(best["metrics"]) == {"val", "test"}
    for file in ("evolve.db", "small/report.html", "small/hyp.yaml", f"small/trials/{best['number']:04d}/seed-0.pt"):
        assert (folder / "runs" / file).stat().st_size > 0, file


def test_show_lists_every_trial_with_its_verdict_and_why(done: tuple[Path, dict[str, object]]) -> None:
    folder, _ = done

    text = evolve(folder, "show", "small").stdout
    rows = json.loads(evolve(folder, "show", "small", "--json").stdout)

    assert "undertrained" in text and "box loss nan" in text
    assert text.splitlines()[-1] == "next    evolve report small"
    assert [row["verdict"] for row in rows] == ["undertrained", "diverged"]
    assert rows[1]["fitness"] is None


def test_export_says_where_the_values_are_from_and_train_takes_them_back(done: tuple[Path, dict[str, object]]) -> None:
    folder, _ = done
    evolve(folder, "export", "small", "-o", "best.yaml")

    text = (folder / "best.yaml").read_text()
    trained = json.loads(evolve(folder, "train", "--hyp", "best.yaml", "--seeds", "0,1", "--json").stdout)

    assert "# Best of study small: trial" in text and "seeds [0]" in text and "torch" in text
    assert "lr0: 0.01" in text
    assert trained["is_complete"] and trained["study"] == "train-best"
    assert trained["best"]["seeds"] == 2
    assert (folder / "runs/train-best/trials/0000/seed-1.pt").exists()


def test_what_a_trials_page_says_trains_it_again_to_the_last_bit(
    done: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder, _ = done
    before = trial_view(folder, "small", 1)
    said = trial_files.reproduction_rows(before)
    assert not isinstance(said, Empty)

    # The shell has an `evolve` that notes what it was given, for ours that need not be loaded first.
    (tmp_path / "evolve").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > typed\n')
    (tmp_path / "evolve").chmod(0o755)
    places = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", said[1].text], cwd=tmp_path, env=places, check=True, timeout=60)
    # A training that diverges again ends with status 1.
    evolve(tmp_path, *(tmp_path / "typed").read_text().splitlines(), check=False)

    after = trial_view(tmp_path, "train-trial_1", 0)
    assert before.verdict == after.verdict == "diverged"
    assert before.row["reason"] == after.row["reason"]
    for name in ("losses", "rates", "health"):
        first, again = (view.measured.frame(name).drop(columns="trial_id") for view in (before, after))
        pd.testing.assert_frame_equal(first, again)


def trial_view(folder: Path, study: str, number: int) -> TrialView:
    """What the page of a trial is made of."""
    view = Reader(f"sqlite:///{folder}/runs/evolve.db").view(PageState(page="/trial", study=study, number=number))
    assert isinstance(view, TrialView)
    return view


def test_a_report_can_be_written_again(done: tuple[Path, dict[str, object]]) -> None:
    folder, _ = done

    evolve(folder, "report", "small", "-o", "again.html")

    assert "<html" in (folder / "again.html").read_text()[:200]


def test_a_finished_study_run_again_trains_nothing(done: tuple[Path, dict[str, object]]) -> None:
    folder, first = done

    again = json.loads(evolve(folder, "run", "--study", "small.yaml", "--json").stdout)

    assert again["best"] == first["best"]
    assert again["reason"] == "budget of 2 trials spent"


def test_studies_are_listed_and_described(tmp_path: Path) -> None:
    listed = evolve(tmp_path, "studies").stdout
    described = evolve(tmp_path, "studies", "lr_sweep").stdout

    for name in ("lr_sweep", "momentum_sweep", "loss_gains", "warmup_length", "evolve_all"):
        assert name in listed
    assert "lr0" in described and "0.0001 .. 10 (log)" in described


def test_a_dry_run_prints_plan_and_cost_and_leaves_nothing(tmp_path: Path) -> None:
    text = evolve(tmp_path, "run", "--study", "lr_sweep", "--dry-run").stdout

    assert "cost: 16 trials x 1 seed" in text and "space    lr0" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run", "--study", "lr_sweeep"], 2, "did you mean 'lr_sweep'"),
        (["run", "--study", "lr_sweep", "--model", "yolov4"], 2, "--model: 'yolov4' is not one of"),
        (["run", "--study", "lr_sweep", "--epochs", "0"], 2, "--epochs: 0 is not at least 1"),
        (["run", "--study", "lr_sweep", "--seeds", "a"], 2, "--seeds: 'a' is not a list of whole numbers"),
        (["run", "--study", "lr_sweep", "--seeds", "1_0"], 2, "--seeds: '1_0' is not a list of whole numbers"),
        (["run", "--study", "lr_sweep", "--seeds", f"{10**20}"], 2, f"--seeds: [{10**20}] is not a list of different"),
        (["run", "--study", "lr_sweep", "--epochs", f"{10**20}"], 2, f"--epochs: {10**20} is above 1,000,000"),
        (["run", "--study", "lr_sweep", "--epochs", "1_0"], 2, "'1_0' is not a whole number, such as 12"),
        (["run", "--study", "lr_sweep", "--workers", "0"], 2, "0 is not at least 1"),
        (["run", "--study", "lr_sweep", "--data", "~nosuchuser/x"], 1, "no user ~nosuchuser"),
        (["run", "--study", "lr_sweep", "--data", "nowhere"], 1, "data nowhere"),
        (["run", "--study", "lr_sweep", "--data", "x" * 5000], 1, "data xxx"),
        (["run", "--study", "lr_sweep", "--device", "cuda:9"], 1, "--device cuda:9: cannot be used"),
        (["run", "--study", "lr_sweep", "--storage", "nonsense"], 1, "not an SQLAlchemy URL"),
        (["run", "--study", "lr_sweep", "--resume"], 1, "there is no such file; run a study first"),
        (["run", "--study", "x", "--resume", "--skip-unreadable"], 2, "the stored study says --skip-unreadable"),
        (["show", "lr_sweep"], 1, "there is no such file; run a study first"),
        (["train", "--hyp", "none.yaml"], 1, "none.yaml: cannot be read"),
        (["run"], 2, "Missing option '--study'"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_misuse_is_answered_with_what_was_found_and_what_is_allowed(
    tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    finished = evolve(tmp_path, *arguments, check=False)

    assert finished.returncode == status, finished.stderr
    assert words in finished.stderr


def test_a_broken_study_file_names_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("epochs: -1\nspace: {lr0: {low: 1, high: 0.1}, mometum: {low: 0, high: 1}}\n")

    finished = evolve(tmp_path, "run", "--study", "bad.yaml", check=False)

    assert finished.returncode == 2
    for words in (
        "bad.yaml: epochs: -1",
        "low 1 is not below high 0.1",
        "did you mean 'momentum'",
        "budget: is missing",
    ):
        assert words in finished.stderr


def test_help_loads_neither_torch_nor_optuna() -> None:
    code = "import sys, evolve.cli; assert not {'torch', 'optuna', 'sqlalchemy', 'pandas', 'ray'} & set(sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


COMMANDS = {command.name or command.callback.__name__: command for command in app.registered_commands}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_gives_an_example_and_speaks_json(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    assert f"Example: evolve {name}" in shown.stdout.replace("`", "")
    assert "--json" in shown.stdout


def test_the_dashboard_tells_programs_its_address(tmp_path: Path) -> None:
    with running(tmp_path, "dashboard", "--no-browser", "--port", "0", "--json") as served:
        served.wait_until(lambda: served.said().count("\n") == 3)
        with urllib.request.urlopen(json.loads(served.said())["address"], timeout=60) as answer:
            assert answer.status == 200
        served.send(signal.SIGINT)
        assert served.ended(60).returncode == 0


def test_ctrl_c_stops_in_order_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL.replace("epochs: 1", "epochs: 6"))
    with running(tmp_path, "run", "--study", "small.yaml", "--workers", "1") as driver:
        driver.wait_until(lambda: any((tmp_path / "runs").glob("small/trials/*/seed-0.pt")))
        driver.send(signal.SIGINT)
        stopped = driver.ended(60)

    assert stopped.returncode == 1
    assert "stopping; unfinished trials go on with the next run" in stopped.stderr and "Traceback" not in stopped.stderr
    assert "next    evolve run --study small --resume" in stopped.stdout
    (tmp_path / "small.yaml").unlink()
    resumed = evolve(tmp_path, "run", "--study", "small", "--resume", "--trials", "1")
    assert "goes on" in resumed.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_termination_asks_to_stop_as_ctrl_c_does_and_the_second_is_not_waited_for(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    with _stop_signals() as should_stop:
        asked = [should_stop()]
        signal.raise_signal(number)
        asked.append(should_stop())
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)

    assert asked == [False, True]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.3])
def test_ctrl_c_in_the_first_moments_ends_without_a_traceback(tmp_path: Path, seconds: float) -> None:
    code = (
        "import os, signal, sys, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['evolve', 'run', '--study', 'lr_sweep', '--dry-run']\n"
        "from evolve.entry import main\n"
        f"threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "main()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )

    # While a command runs, Typer ends with what shells give to an interrupted program.
    assert (ended.returncode, ended.stderr) in ((1, "interrupted\n"), (130, ""))


def test_ctrl_c_while_a_library_builds_its_validators_is_a_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydantic_core import SchemaError

    from evolve import cli, entry

    def interrupted() -> None:
        raise SchemaError('Error building "literal" validator:\n  KeyboardInterrupt: ')

    monkeypatch.setattr(cli, "main", interrupted)

    with pytest.raises(SystemExit) as ended:
        entry.main()

    assert (ended.value.code, capsys.readouterr().err) == (1, "interrupted\n")


@pytest.mark.skipif(not RACCOON.exists(), reason="the raccoon photographs are not beside the checkout")
def test_a_study_runs_on_photographs_and_stores_what_the_check_found(tmp_path: Path) -> None:
    arguments = ["--data", str(RACCOON), "--model", "yolov3-compact", "--epochs", "1", "--trials", "2"]
    result = json.loads(evolve(tmp_path, "run", "--study", "lr_sweep", *arguments, "--json", check=False).stdout)

    assert result["study"] == "lr_sweep-raccoon-yolov3_compact-1ep"
    assert sum(result["verdicts"].values()) == 2


def test_the_version_is_told_without_loading_what_trains() -> None:
    code = (
        "import sys, evolve.cli\n"
        "try: evolve.cli.app(['--version'])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "assert not {'torch', 'optuna', 'sqlalchemy', 'pandas', 'ray'} & set(sys.modules)"
    )

    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)

    assert told.stdout == f"evolve {version('evolve-yolo')}\n"
