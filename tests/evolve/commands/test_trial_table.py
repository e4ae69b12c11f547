"""The trials of a study as rows, as a table that fits its terminal, and one of them in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, insert, update

from evolve.commands.trial_table import best_line, cut, heading, trial_table
from evolve.commands.trial_text import trial_text
from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.notes import add_note
from evolve.storage.trial_rows import Note, Training, TrialRow, description_of, trial_rows
from tests.synthetic import Plan, add_study, new_engine

VERDICTS = ["undertrained", "converged", "diverged", "failed", "pruned", "running", "waiting"]
LONG = "loss grew to 1.2e+03x its start by step 213, most in box at scale 1; grad norm 4.1e+05 at step 212; " * 2


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A study with a trial of each kind, two seeds each."""
    engine = new_engine(tmp_path / "evolve.db")
    add_study(engine, Plan(name="all", num_trials=7, verdicts=VERDICTS, seeds=(3, 5), log_steps=False))
    return engine


def row(number: int = 0, **changes: object) -> TrialRow:
    made = TrialRow(
        study="s",
        number=number,
        verdict="converged",
        fitness=0.5,
        params={"lr0": 0.123456, "momentum": 0.9, "schedule": "cosine"},
        reason="fitness 0.5; last quarter added 1%",
        seconds=12.0,
        trainings=(),
        by_seed={},
        diagnosis=None,
        notes=(),
        events=(),
        checkpoints=(),
        traceback="",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_rows_say_what_optuna_and_we_know_of_each_trial(engine: Engine, tmp_path: Path) -> None:
    rows = {row.number: row for row in trial_rows(engine, "all")}

    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    assert [rows[number].verdict for number in range(7)] == VERDICTS
    for trial in storage.optuna.get_all_trials(storage.study_id("all")):
        assert rows[trial.number].params == trial.params
        assert list(rows[trial.number].params) == list(trial.params)
    outcome = storage.outcome(3)
    assert outcome is not None and outcome.diagnosis is not None
    assert rows[2].diagnosis is not None and rows[2].diagnosis["summary"] in outcome.diagnosis
    assert rows[3].traceback == outcome_traceback(storage, 4)


def outcome_traceback(storage: Storage, trial_id: int) -> str | None:
    outcome = storage.outcome(trial_id)
    return None if outcome is None else outcome.traceback


def test_metrics_are_those_of_the_last_epoch_by_seed_and_their_means(engine: Engine, tmp_path: Path) -> None:
    (found,) = trial_rows(engine, "all", number=1)

    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    for split in ("val", "test"):
        last = {seed: epochs[-1].map50 for seed, epochs in storage.records.epochs(2, split=split).items()}
        assert {seed: metrics[split]["map50"] for seed, metrics in found.by_seed.items()} == last
        assert found.metrics[split]["map50"] == pytest.approx((last[3] + last[5]) / 2)
    assert list(found.by_seed) == [3, 5]


def test_a_pruned_trial_stands_behind_those_that_trained_through_however_fit_it_was(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.verdict == "pruned").values(fitness=0.99))

    numbers = [row.number for row in trial_rows(engine, "all")]

    assert set(numbers[:2]) == {0, 1} and numbers[2] == 4


def test_ten_times_the_trials_take_no_more_statements(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "evolve.db")
    for name, trials in (("few", 5), ("many", 50)):
        add_study(engine, Plan(name=name, num_trials=trials, log_steps=False))
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    trial_rows(engine, "few")
    few = len(statements)
    trial_rows(engine, "many")

    assert len(statements) == 2 * few


def test_a_study_or_trial_that_is_not_there_is_said(engine: Engine) -> None:
    with pytest.raises(StorageError, match="study none: is not in"):
        trial_rows(engine, "none")
    with pytest.raises(StorageError, match="study all: has no trial 7; its trials are 0 to 6"):
        trial_rows(engine, "all", number=7)


def test_a_study_says_what_it_is_to_find_out(engine: Engine) -> None:
    assert description_of(engine, "all") == "Where does the learning rate stop being safe?"
    assert description_of(engine, "none") == ""


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_of_the_table_is_longer_than_the_terminal(width: int) -> None:
    notes = [Note(created=0.0, author="me", text=LONG, tag="odd")]
    rows = [row(7, reason=LONG, notes=notes), row(8, verdict="undertrained", params={"lr0": 1e-7, "a_long_name": 1})]

    text = "\n".join([heading("s" * 30, LONG, rows, width=width), trial_table(rows, limit=9, width=width)])

    assert max(map(len, text.splitlines())) <= width


def test_reasons_are_cut_at_a_word_and_hyperparameters_without_room_are_named() -> None:
    rows = [row(reason=LONG)]

    lines = trial_table(rows, limit=9, width=62).splitlines()

    assert lines[0].split() == ["trial", "verdict", "fitness", "lr0", "reason"]
    assert lines[1].endswith("loss grew to 1.2e+03x its …")
    assert lines[2] == "left out (--wide and --json show all): momentum, schedule"


def test_without_a_width_all_is_shown() -> None:
    text = trial_table([row(reason=LONG)], limit=9, width=None)

    assert "cosine" in text and LONG.strip() in text and "…" not in text


def test_hyperparameters_of_any_trial_have_a_column() -> None:
    lines = trial_table([row(params={}), row(1)], limit=9, width=None).splitlines()

    assert lines[0].split()[3:6] == ["lr0", "momentum", "schedule"]


def test_the_table_ends_with_what_is_left_and_what_people_noted() -> None:
    notes = [Note(created=0.0, author="me", text="spikes\nearly", tag="odd")]

    lines = trial_table([row(notes=notes), row(1)], limit=1, width=None).splitlines()

    assert lines[-3:] == ["and 1 more: --limit 2", "notes", "  trial 0: [odd] spikes early"]


def test_a_word_longer_than_the_line_is_cut_inside() -> None:
    assert cut("abcdefgh", 5) == "abcd…"
    assert cut("ab cdefgh", 5) == "ab …"
    assert cut("abcde", 5) == "abcde"


def test_the_heading_asks_counts_and_names_the_best() -> None:
    rows = [row(4), row(1, verdict="diverged", fitness=None)]

    assert heading("s", "Why?", rows, more=[best_line(rows, {})], width=None).splitlines() == [
        "study   s: Why?",
        "trials  2: 1 converged, 1 diverged",
        "best    trial 4: fitness 0.5000  (lr0 0.1235, momentum 0.9, schedule cosine)",
    ]
    assert not best_line(rows[1:], {})
    assert heading("s", "", [], width=None) == "study   s\ntrials  none yet"


def test_one_trial_is_told_in_full(engine: Engine, tmp_path: Path) -> None:
    add_note(engine, "all", 2, "spikes early", tag="odd")
    kept = {"trial_id": 3, "seed": 3, "epoch": 4, "step": 80, "path": "trials/0002/seed-3.pt"}
    with engine.begin() as connection:
        connection.execute(insert(schema.checkpoint), [kept, kept | {"seed": 5, "path": "trials/0002/seed-5.pt"}])
    (tmp_path / "trials/0002").mkdir(parents=True)
    (tmp_path / "trials/0002/seed-3.pt").touch()
    (found,) = trial_rows(engine, "all", number=2)

    text = trial_text(found, tmp_path, width=None)

    assert text.startswith("trial       2 of study all\nverdict     diverged\nreason      loss nan at step ")
    for words in (
        f"lr0 {found.params['lr0']}",
        "last finite grad step ",
        "[odd] spikes early  (",
        f"checkpoints {tmp_path}/trials/0002/seed-3.pt  (seed 3, after epoch 4)",
        "(seed 5, after epoch 4; removed",
    ):
        assert words in text
    assert " " * 12 + "lr " in text and "summary" not in text


def test_metrics_of_a_trial_are_told_by_split_and_seed(engine: Engine, tmp_path: Path) -> None:
    (found,) = trial_rows(engine, "all", number=1)

    lines = trial_text(found, tmp_path, width=None).splitlines()

    (val,) = (place for place, line in enumerate(lines) if line.startswith("val "))
    assert [line.rpartition("(")[2] for line in lines[val : val + 3]] == ["mean of 2 seeds)", "seed 3)", "seed 5)"]
    assert lines[val + 3].startswith("test        precision ")


def test_each_of_several_trainings_has_its_line(tmp_path: Path) -> None:
    trainings = (
        Training(seed=3, verdict="converged", reason="fitness 0.6; last quarter added 1%", fitness=0.6, seconds=5.0),
        Training(seed=5, verdict=None, reason="", fitness=0.4, seconds=7.25),
    )

    text = trial_text(row(trainings=trainings), tmp_path, width=None)

    assert "trainings   seed 3, 5.0 s, converged: fitness 0.6; last quarter added 1%\n" in text
    assert text.endswith("            seed 5, 7.2 s, verdict not kept")
    assert "trainings" not in trial_text(row(trainings=trainings[:1]), tmp_path, width=None)


def test_long_reasons_go_on_in_the_next_line_and_tracebacks_stay_as_they_are(tmp_path: Path) -> None:
    traceback = "Traceback (most recent call last):\n    " + "x" * 90 + "\nValueError: no"

    lines = trial_text(row(reason=LONG, traceback=traceback), tmp_path, width=60).splitlines()

    assert lines[2].startswith("reason      loss grew") and lines[3].startswith(" " * 12)
    assert " ".join(" ".join(lines[2:]).split()).startswith("reason " + LONG.strip())
    assert " " * 16 + "x" * 90 in lines and lines[-1] == " " * 12 + "ValueError: no"
