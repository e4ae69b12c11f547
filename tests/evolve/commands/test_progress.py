"""What a person sees while a study runs, on a terminal and without one."""

from __future__ import annotations

import io
import time
from itertools import count

from rich.console import Console

from detector.findings import Finding
from detector.telemetry import LaneStarted
from evolve.commands.progress import LINE_SECONDS, Progress
from evolve.outcome.training import TrialOutcome
from evolve.outcome.verdict import Verdict
from evolve.run.data import DataChecked
from evolve.run.events import (
    RunEvent,
    StudyGoesOn,
    StudyStopped,
    TrialEnded,
    TrialProgressed,
    TrialStarted,
    TrialWarned,
)
from evolve.study.trial import Record, Trial
from tests.fakes import fake_study, metrics_of, step_of

TRIAL = Trial(study="fake", number=3, params={"lr0": 0.1, "momentum": 0.9}, seeds=(0,))


def events() -> list[DataChecked | RunEvent]:
    telemetry = [
        LaneStarted(lane=0, epoch=0, step=0, total_steps=20),
        step_of(0.1, 0, 0, 0),
        metrics_of(0.1, 0, 0, 4, "val"),
        metrics_of(0.5, 0, 3, 4, "test"),
    ]
    finding = Finding(kind="clipped", file="a[b].xml", line=7, message="box reaches outside")
    return [
        DataChecked(
            summary={"splits": {"train": {"images": 9, "boxes": 11, "boxes_by_class": {"cat": 4, "dog": 7}}}},
            findings=(finding,) * 7,
            note="split by seed",
        ),
        TrialStarted(trial=TRIAL, is_resumed=True),
        TrialProgressed(trial=TRIAL, records=tuple(Record(trial=3, seed=0, telemetry=each) for each in telemetry)),
        TrialEnded(
            trial=TRIAL, outcome=TrialOutcome(verdict=Verdict.CONVERGED, reason="fitness 0.6 [flat]", fitness=0.6)
        ),
        StudyStopped(reason="budget of 6 trials spent", is_complete=True),
    ]


def shown(happened: list[DataChecked | RunEvent], *, is_terminal: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=160, color_system=None)
    ticks = count()
    with Progress(fake_study(), console, clock=lambda: float(next(ticks))) as progress:
        for event in happened:
            progress.update(event)
        if is_terminal:
            time.sleep(0.6)  # the table is drawn four times a second
    return text.getvalue()


def test_without_a_terminal_there_is_a_plain_line_for_everything_that_matters() -> None:
    lines = shown(events(), is_terminal=False).splitlines()

    assert lines[0] == "data digits-1: train 9 images, 11 boxes. split by seed"
    assert lines[1] == "  training boxes by class: cat 4, dog 7"
    assert lines[2] == "  clipped: a[b].xml:7: box reaches outside"
    assert lines[7] == "  and 2 more findings, all in the report"
    assert lines[8].startswith("trial 3    goes on     lr0 0.1  momentum 0.9")
    assert lines[9].startswith("trial 3    converged     map50 0.357  fitness 0.6 [flat]")
    assert lines[10].startswith("budget of 6 trials spent; 1 trials in")
    assert len(lines) == 11


def test_without_a_terminal_a_long_trial_says_every_half_minute_where_it_stands() -> None:
    text = io.StringIO()
    now = [0.0]
    with Progress(fake_study(), Console(file=text, width=160), clock=lambda: now[0]) as progress:
        for event in events()[1:3]:
            progress.update(event)
        quiet = text.getvalue()
        now[0] = LINE_SECONDS
        progress.update(events()[2])
        progress.update(events()[2])

    assert "epoch" not in quiet
    assert text.getvalue().count("trial 3    epoch 1/4  loss 4.000  map50 0.357  1600 images/s") == 1


def test_what_warns_is_said_on_a_line_of_its_own() -> None:
    reason = "update 3.1 above 1.21 at step 12"

    lines = shown([*events()[:2], TrialWarned(trial=TRIAL, reason=reason)], is_terminal=False).splitlines()

    assert lines[-1] == f"trial 3    warns       {reason}"


def test_a_resumed_study_counts_and_names_the_best_of_all_its_trials() -> None:
    went_on = StudyGoesOn(num_ended=4, best=1, fitness=0.7)

    terminal = shown([went_on, *events()[:4]], is_terminal=True)
    plain = shown([went_on, *events()], is_terminal=False)

    assert "fake: 5 of 6 trials ended" in terminal and "best trial 1: fitness 0.700" in terminal
    assert "budget of 6 trials spent; 1 trials in" in plain  # of this run


def test_a_terminal_shows_each_running_trial_with_loss_rate_speed_and_time_left() -> None:
    text = shown(events()[:3], is_terminal=True)

    assert "0 of 6 trials ended" in text
    row = next(line for line in text.splitlines() if "lr0 0.1" in line and "1/4" in line)
    assert "4.000" in row and "1600" in row and " s " in row
