"""A study's trainer for a Tune script of one's own: `tune.Tuner(trainable("lr_sweep"), param_space={...})`.

Any hyperparameter of the detector may be in `param_space`; the others are the study's. After each epoch are reported
fitness, precision, recall, map50, map50_95, each loss term and epoch, with a checkpoint. A training that diverges
reports a fitness of 0 and `diverged` 1, once, and ends: NaN would neither be stopped nor ranked by Tune's schedulers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.hyperparameters import names
from detector.telemetry import METRICS, TERMS, CheckpointSaved, EpochMetrics, LaneEnded, LaneStarted
from evolve.outcome.verdict import Verdict
from evolve.run.judging import gains_by_epoch
from evolve.run.lending import Course, TrainingFailedError, lent, trained
from evolve.run.machine import threads_for
from evolve.study.trial import Trial

if TYPE_CHECKING:
    from evolve.study import Study

__all__ = ["trainable"]

# Name of the one file of a checkpoint; `detector.load_detector` reads it as it is.
CHECKPOINT = "checkpoint.pt"
# What a diverged training reports as losses: finite, and worse than any that trained.
WORST_LOSS = 1e30
_NUMBER = 0  # of the trial in its folder, which is its own


def trainable(study: str | Study, *, data: str | None = None, device: str = "auto") -> Callable[[dict[str, Any]], None]:
    """A function for `ray.tune.Tuner`, which trains a study's detector with the values of a Tune trial.

    It trains with the first of the study's seeds, on as many threads as the trial has CPUs. From a checkpoint that Tune
    gives it, it goes on; where the values have changed since, as population based training has it, with the new ones.

    Args:
        study: A study, its name, or the path of its file; of it count data, model, plan, fixed values and fitness.
        data: Name or path of the data to train on; None for the study's own.
        device: torch's name of the device on the machine that trains, or `auto` for a GPU where it has one.

    Raises:
        EvolveError: Study or data cannot be used.
    """
    found, _ = lent(study, data=data, device="cpu" if device == "auto" else device)

    def train(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _Run(found, device, Path(folder), config).through()

    train.__name__ = found.name
    return train


@dataclass(frozen=True, slots=True)
class _Run:
    """One start of a Tune trial in its process."""

    study: Study
    device: str
    folder: Path
    config: Mapping[str, Any]

    def through(self) -> None:
        from evolve.run.detection import choose_device
        from evolve.run.lanes import make_objective

        if unknown := sorted(set(self.config) - set(names())):
            raise ValueError(f"param_space: {unknown} are no hyperparameters; known: {list(names())}")
        seed = self.study.seeds[0]
        goes_on = self._take_over(seed)
        objective = make_objective(
            self.study, device=choose_device(self.device), run_folder=self.folder, num_threads=threads_for(1)
        )
        trial = Trial(study=self.study.name, number=_NUMBER, params=dict(self.config), seeds=(seed,))
        course, last = Course(self.study, gains_by_epoch(self.study, trial.params)), dict[str, Any]()
        for progress in trained(objective, trial):
            for record in progress.records:
                telemetry = record.telemetry
                course.take_in(telemetry)
                if isinstance(telemetry, LaneStarted) and goes_on and telemetry.passed_over:
                    raise TrainingFailedError(f"Tune's checkpoint is not used: {'; '.join(telemetry.passed_over)}")
                if isinstance(telemetry, EpochMetrics) and telemetry.split == "val":
                    last = _metrics(telemetry, course)
                elif isinstance(telemetry, CheckpointSaved) and course.is_finite:
                    self._report(last, seed)
                elif isinstance(telemetry, LaneEnded):
                    self._end(course, telemetry, last)

    def _report(self, metrics: dict[str, Any], seed: int) -> None:
        from ray import tune

        from detector.checkpoint import link

        folder = self.folder / "reported"
        folder.mkdir(exist_ok=True)
        link(self._checkpoint(seed), folder / CHECKPOINT)
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))

    def _end(self, course: Course, ended: LaneEnded, last: Mapping[str, Any]) -> None:
        """A divergence is reported; all else has been."""
        from ray import tune

        if course.judgement(ended).verdict is not Verdict.DIVERGED:
            return
        losses = dict.fromkeys([key for key in last if key.endswith("_loss")] or _loss_keys(), WORST_LOSS)
        scores = dict.fromkeys(["fitness", *METRICS], 0.0)
        tune.report({**scores, **losses, "epoch": last.get("epoch", 0), "diverged": 1})

    def _take_over(self, seed: int) -> bool:
        """Puts the checkpoint that Tune gives where the training looks for its own."""
        from ray import tune

        given = tune.get_checkpoint()
        if given is None:
            return False
        from detector.checkpoint import carry_over

        with given.as_directory() as folder:
            kept = self.folder / "given.pt"
            shutil.copyfile(os.path.join(folder, CHECKPOINT), kept)  # noqa: PTH118 - a path as text
        carry_over(kept, self._checkpoint(seed), self.study.hyperparameters(self.config))
        return True

    def _checkpoint(self, seed: int) -> Path:
        from evolve.run.detection import checkpoint_path

        return checkpoint_path(self.folder, _NUMBER, seed)


def _loss_keys() -> list[str]:
    return [f"{split}{term}_loss" for split in ("", "train_") for term in TERMS]


def _metrics(metrics: EpochMetrics, course: Course) -> dict[str, Any]:
    losses = {f"{name}_loss": value for name, value in metrics.losses.items()}
    losses |= {f"train_{name}_loss": value for name, value in metrics.train_losses.items()}
    scores = {name: getattr(metrics, name) for name in METRICS}
    return {"fitness": course.fitness[-1], **scores, **losses, "epoch": metrics.epoch, "diverged": 0}
