"""An objective that behaves like the real one in milliseconds: it learns, diverges, crashes and keeps checkpoints."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detector.observations import LayerInspected
from detector.telemetry import (
    TERMS,
    CheckpointSaved,
    EndCause,
    EpochMetrics,
    LaneEnded,
    LaneStarted,
    LossTerms,
    StepTelemetry,
    Telemetry,
)
from evolve.study import Study
from evolve.study.trial import Record, Trial

STEPS_PER_EPOCH = 5
UNLUCKY_SEED = 13  # diverges at any rate


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeObjective:
    """Fitness peaks at lr0 0.1; lr0 below 1e-4 raises, below 1e-5 kills the process.

    The loss falls below lr0 0.5, stays where it is from there on, and is NaN after some steps from lr0 1 on.

    Attributes:
        epochs: Of each training.
        folder: Where checkpoints go.
        step_seconds: How long a step takes.
        signals: Sent by the process to itself, by step; each once in a training.
        most_lanes: Above which memory runs out.
    """

    epochs: int
    folder: Path
    step_seconds: float = 0.0
    signals: Mapping[int, signal.Signals] = field(default_factory=dict)
    most_lanes: int = 1000

    def fuse_key(self, trial: Trial) -> Hashable:
        return trial.params.get("shared", "")

    def start(self, trials: Sequence[Trial]) -> FakeTraining:
        if len(trials) > self.most_lanes:
            raise MemoryError(f"no room for {len(trials)} lanes")
        return FakeTraining(self, trials)

    def train(self, trial: Trial, seed: int) -> Generator[Telemetry, None, None]:
        lr0 = float(trial.params.get("lr0", 0.01))
        path = self.folder / f"{trial.number}-{seed}.json"
        start = path if path.exists() or trial.parent is None else self.folder / f"{trial.parent}-{seed}.json"
        kept = json.loads(start.read_text()) if start.exists() else {}
        first = kept["epoch"] + 1 if kept.get("origin") == trial.origin else 0
        last = self.epochs if trial.epochs is None else trial.epochs
        total = self.epochs * STEPS_PER_EPOCH
        yield LaneStarted(lane=0, epoch=first, step=first * STEPS_PER_EPOCH, total_steps=total)
        for epoch in range(first, last):
            yield inspected(epoch)
            for step in range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH):
                time.sleep(self.step_seconds)
                misbehave(lr0, step)
                self._signal(path, step)
                telemetry = step_of(lr0, seed, step, epoch)
                yield telemetry
                if not telemetry.is_finite:
                    yield LaneEnded(lane=0, step=step, cause=EndCause.DIVERGED, reason="box loss is not finite")
                    return
            yield metrics_of(lr0, seed, epoch, self.epochs, "val")
            written = path.with_suffix(".partial")
            written.write_text(json.dumps({"epoch": epoch, "origin": trial.origin}))
            written.replace(path)
            yield CheckpointSaved(lane=0, epoch=epoch, step=(epoch + 1) * STEPS_PER_EPOCH, path=str(path))
        if last == self.epochs:
            yield inspected(self.epochs)
            yield metrics_of(lr0, seed, self.epochs - 1, self.epochs, "test")
        yield LaneEnded(lane=0, step=last * STEPS_PER_EPOCH, cause=EndCause.FINISHED, reason="ran all epochs")

    def _signal(self, path: Path, step: int) -> None:
        sent = path.with_suffix(f".{step}")
        if step in self.signals and not sent.exists():
            sent.touch()
            os.kill(os.getpid(), self.signals[step])


class FakeTraining:
    """Generators of telemetry, one a trial and seed, advanced an epoch in turns."""

    def __init__(self, objective: FakeObjective, trials: Sequence[Trial]) -> None:
        self._objective = objective
        self._seats: dict[int, tuple[Trial, int, Generator[Telemetry, None, None]]] = {}
        self._waiting: list[tuple[Trial, int]] = []
        self._stopped: dict[int, str] = {}
        for trial in trials:
            self.admit(trial)

    def admit(self, trial: Trial) -> None:
        self._waiting.append((trial, trial.seeds[0]))

    def train_epoch(self) -> Generator[Record, None, None]:
        for trial, seed in self._waiting:
            self._seats[trial.number] = trial, seed, self._objective.train(trial, seed)
        self._waiting = []
        for number in list(self._seats):
            yield from self._until(number, EpochMetrics)

    def stop(self, trial: int, reason: str) -> None:
        self._stopped[trial] = reason

    def settle(self) -> Generator[Record, None, None]:
        for number in list(self._seats):
            if (reason := self._stopped.pop(number, None)) is not None:
                _, seed, telemetry = self._seats.pop(number)
                telemetry.close()
                ended = LaneEnded(lane=0, step=0, cause=EndCause.STOPPED, reason=reason)
                yield Record(trial=number, seed=seed, telemetry=ended)
            else:
                yield from self._until(number, CheckpointSaved)

    def _until(self, number: int, last: type[Telemetry]) -> Generator[Record, None, None]:
        trial, seed, training = self._seats[number]
        for telemetry in training:
            if isinstance(telemetry, LaneEnded):
                self._leave(trial, seed, telemetry)
            yield Record(trial=number, seed=seed, telemetry=telemetry)
            last_epoch = (trial.epochs or self._objective.epochs) - 1
            is_last_epoch = isinstance(telemetry, CheckpointSaved) and telemetry.epoch == last_epoch
            if isinstance(telemetry, last) and not is_last_epoch:
                return

    def _leave(self, trial: Trial, seed: int, ended: LaneEnded) -> None:
        del self._seats[trial.number]
        if (after := trial.seed_after(seed, ended.cause)) is not None:
            self._waiting.append((trial, after))


def make_fake(
    epochs: int,
    folder: Path,
    step_seconds: float = 0.0,
    signals: Mapping[int, signal.Signals] | None = None,
    most_lanes: int = 1000,
) -> FakeObjective:
    """For engines, which make the objective in their workers."""
    return FakeObjective(
        epochs=epochs, folder=folder, step_seconds=step_seconds, signals=signals or {}, most_lanes=most_lanes
    )


def misbehave(lr0: float, step: int) -> None:
    if lr0 < 1e-6 and step == 2:
        raise OSError(28, "No space left on device")
    if lr0 < 1e-5 and step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if lr0 < 1e-4 and step == 3:
        raise RuntimeError(f"lr0 {lr0:g} breaks this network")


def step_of(lr0: float, seed: int, step: int, epoch: int) -> StepTelemetry:
    is_broken = (lr0 >= 1 or seed == UNLUCKY_SEED) and step >= 7
    loss = math.nan if is_broken else 4 / (1 + 0.2 * step * quality(lr0, seed)) if lr0 < 0.5 else 4.0
    parts = tuple(loss / 8 for _ in range(2))
    return StepTelemetry(
        lane=0,
        step=step,
        epoch=epoch,
        loss=loss,
        terms=LossTerms(box=parts, obj=parts, noobj=parts, cls=parts),
        grad_norm=math.nan if is_broken else 1 + lr0 * step,
        update_ratio=lr0 / 5,
        lr=lr0,
        bias_lr=lr0,
        momentum=0.9,
        max_box_logit=1.0,
        in_warmup=step < 3,
        seconds=0.01,
        images_per_second=1600.0,
    )


def metrics_of(lr0: float, seed: int, epoch: int, epochs: int, split: str) -> EpochMetrics:
    score = quality(lr0, seed) * min(1.0, (epoch + 1) / (0.7 * epochs))
    losses = dict.fromkeys(TERMS, 1 - score)
    return EpochMetrics(
        lane=0,
        epoch=epoch,
        step=(epoch + 1) * STEPS_PER_EPOCH,
        split=split,
        precision=score,
        recall=score,
        map50=score,
        map50_95=score / 2,
        losses=losses,
        train_losses=losses,
        seconds=0.05,
    )


def inspected(epoch: int) -> LayerInspected:
    numbers = {"mean": 0.0, "spread": 0.5, "norm": 5.0, "smallest": -1.0, "largest": 1.0, "zeros": 0.25, "dead": 0.5}
    return LayerInspected(lane=0, epoch=epoch, layer=0, part="activations", histogram=(0, 500, 500), **numbers)


def quality(lr0: float, seed: int) -> float:
    """0..1, highest at lr0 0.1, a little different from seed to seed."""
    return math.exp(-((math.log10(lr0) + 1) ** 2)) * (1 - 0.01 * seed)


def fake_study(**changes: object) -> Study:
    """A study for the fake objective."""
    mapping: dict[str, object] = {
        "name": "fake",
        "epochs": 4,
        "space": {"lr0": {"low": 1e-3, "high": 10, "log": True}, "momentum": {"low": 0.5, "high": 0.95}},
        "sampler": "random",
        "budget": {"trials": 6},
    }
    return Study.from_mapping(mapping | changes, origin="test")
