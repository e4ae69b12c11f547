"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from detector.telemetry import EpochMetrics, LaneStarted, StepTelemetry
from evolve.commands.plan_text import data_lines
from evolve.formatting import elapsed, parameter
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.run.data import DataChecked
from evolve.run.events import (
    CheckpointPassedOver,
    DatabaseAway,
    LanesChosen,
    LanesParted,
    RangesPlaced,
    RunEvent,
    StartChecked,
    StudyGoesOn,
    StudyStopped,
    TrialEnded,
    TrialPaused,
    TrialProgressed,
    TrialStarted,
    TrialWarned,
    WorkerLost,
)
from evolve.study import Study
from evolve.study.arms import compared_trials
from evolve.study.trial import Trial

STYLES = {
    "converged": "green",
    "undertrained": "yellow",
    "worsened": "yellow",
    "diverged": "red",
    "doomed": "red",
    "partial": "cyan",
    "paused": "cyan",
    "pruned": "dim",
    "failed": "bold red",
}


# Between two lines about a trial where the terminal does not redraw.
LINE_SECONDS = 30.0


@dataclass(slots=True)
class _Row:
    """A trial that trains now, as far as its records tell."""

    trial: Trial
    since: float
    seed: int = 0
    first_step: int = 0
    total_steps: int = 0
    step: StepTelemetry | None = None
    map50: float = float("nan")
    said: float = 0.0

    def seconds_left(self, now: float) -> float:
        """Seconds to the end of all its seeds, at the pace so far; NaN before the first step."""
        if self.step is None or self.step.step < self.first_step or not self.total_steps:
            return float("nan")
        pace = (now - self.since) / (self.step.step + 1 - self.first_step)
        seeds_after = len(self.trial.seeds) - 1 - self.trial.seeds.index(self.seed)
        return pace * (self.total_steps - self.step.step - 1 + seeds_after * self.total_steps)


class Progress:
    """Shows events as they come; use as a context manager."""

    def __init__(self, study: Study, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._console, self._clock = study, console, clock
        self._rows: dict[int, _Row] = {}
        self._num_ended, self._num_ended_here = 0, 0  # of the study, and of this run
        self._started = clock()
        self._best, self._compared = (float("-inf"), -1), compared_trials(study.to_mapping())
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()

    def update(self, event: DataChecked | RunEvent) -> None:
        """Takes in the next event."""
        if isinstance(event, DataChecked):
            self._say_data(event)
        elif isinstance(event, LanesChosen):
            self._say(event.text)
        elif isinstance(event, RangesPlaced):
            for text in event.texts:
                self._say(f"placed  {text}")
        elif isinstance(event, StartChecked):
            self._say(f"weights {event.text}")
        elif isinstance(event, StudyGoesOn):
            self._num_ended = event.num_ended
            if event.best is not None:
                self._best = (event.fitness, event.best)
        elif isinstance(event, TrialStarted):
            self._rows[event.trial.number] = self._new_row(event.trial)
            how = "goes on   " if event.is_resumed else "started   "
            if self._live is None or event.is_resumed:
                self._say(f"trial {event.trial.number:<4} {how}  {_params(event.trial)}")
        elif isinstance(event, TrialProgressed):
            self._take_in(event)
        elif isinstance(event, WorkerLost):
            when = "goes on from its last checkpoint" if event.is_retried else "goes on with the next run"
            self._say(f"trial {event.trial.number:<4} {when}: {event.reason}")
        elif isinstance(event, DatabaseAway):
            self._say(f"database does not answer, waiting for it: {event.reason}")
        elif isinstance(event, LanesParted):
            self._say(f"trial {event.trial.number:<4} lanes parted: {event.reason}")
        elif isinstance(event, TrialWarned):
            self._say(f"trial {event.trial.number:<4} warns       {event.reason}")
        elif isinstance(event, CheckpointPassedOver):
            self._say(f"trial {event.trial.number:<4} checkpoint not used: {event.reason}")
        elif isinstance(event, TrialEnded):
            self._say_ended(event)
        elif isinstance(event, TrialPaused):
            self._rows.pop(event.trial.number, None)
            self._say(f"trial {event.trial.number:<4} paused      {event.outcome.reason}")
        elif isinstance(event, StudyStopped):
            self._say(f"{event.reason}; {self._num_ended_here} trials in {elapsed(self._clock() - self._started)}")
        if self._live is not None:
            self._live.update(self._table())

    def _new_row(self, trial: Trial) -> _Row:
        now = self._clock()
        return _Row(trial, now, trial.seeds[0], said=now)

    def _take_in(self, progressed: TrialProgressed) -> None:
        row = self._rows[progressed.trial.number]
        for record in progressed.records:
            telemetry = record.telemetry
            if isinstance(telemetry, LaneStarted):
                row.seed, row.first_step, row.total_steps = record.seed, telemetry.step, telemetry.total_steps
                row.since, row.step = self._clock(), None
            elif isinstance(telemetry, StepTelemetry):
                row.step = telemetry
            elif isinstance(telemetry, EpochMetrics) and telemetry.split == "val":
                row.map50 = telemetry.map50
        if self._live is None and row.step is not None and self._clock() - row.said >= LINE_SECONDS:
            row.said = self._clock()
            self._say(_line(row, self._study, row.said))

    def _say_data(self, checked: DataChecked) -> None:
        for line in data_lines(self._study.data, checked):
            self._say(line)

    def _say_ended(self, ended: TrialEnded) -> None:
        row = self._rows.pop(ended.trial.number, None)
        self._num_ended += 1
        self._num_ended_here += 1
        verdict, fitness = str(ended.outcome.verdict), ended.outcome.fitness
        if verdict in TRAINED_THROUGH and ended.trial.number in self._compared and fitness > self._best[0]:
            self._best = (fitness, ended.trial.number)
        metric = f"map50 {row.map50:.3f}  " if row is not None and isfinite(row.map50) else ""
        style = STYLES.get(verdict, "")
        self._say(
            f"trial {ended.trial.number:<4} [{style}]{verdict:<12}[/]  {metric}{escape(ended.outcome.reason)}",
            is_markup=True,
        )

    def _say(self, text: str, *, is_markup: bool = False) -> None:
        self._console.print(text if is_markup else escape(text), soft_wrap=True, highlight=False)

    def _table(self) -> Table:
        running = elapsed(self._clock() - self._started)
        best = f"; best trial {self._best[1]}: fitness {self._best[0]:.3f}" if self._best[1] >= 0 else ""
        table = Table(
            title=f"{self._study.name}: {self._num_ended} of {self._study.budget.trials} trials ended, {running}{best}",
            title_justify="left",
        )
        for name in ("trial", "parameters", "epoch", "loss", "lr", "map50", "images/s", "time left"):
            table.add_column(name, justify="left" if name == "parameters" else "right")
        for row in self._rows.values():
            table.add_row(*_cells(row, self._study, self._clock()))
        return table


def _line(row: _Row, study: Study, now: float) -> str:
    """Where a trial stands, for a terminal that does not redraw or a file."""
    assert row.step is not None
    metric = f"  map50 {row.map50:.3f}" if isfinite(row.map50) else ""
    left = elapsed(row.seconds_left(now))
    return (
        f"trial {row.trial.number:<4} epoch {row.step.epoch + 1}/{study.epochs}  loss {row.step.loss:.3f}{metric}  "
        f"{row.step.images_per_second:.0f} images/s" + (f"  {left} left" if left else "")
    )


def _cells(row: _Row, study: Study, now: float) -> tuple[str, ...]:
    step = row.step
    return (
        str(row.trial.number),
        escape(_params(row.trial)),
        "" if step is None else f"{step.epoch + 1}/{study.epochs}",
        "" if step is None else f"{step.loss:.3f}",
        "" if step is None else f"{step.lr:.2g}",
        f"{row.map50:.3f}" if isfinite(row.map50) else "",
        "" if step is None else f"{step.images_per_second:.0f}",
        elapsed(row.seconds_left(now)),
    )


def _params(trial: Trial) -> str:
    return "  ".join(f"{name} {parameter(value)}" for name, value in trial.params.items())
