"""A diverged training, trained again from its last checkpoint or its seed, and looked into where it broke.

All randomness comes from seeds and counters, so on the same machine it goes the same way to the last bit; where it
does not, that is said. The loop is the trainer's own: what is seen in a step are its records.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.hyperparameters import Hyperparameters
from detector.observations import StepTraced
from detector.telemetry import EndCause, EpochMetrics, LaneEnded, StepTelemetry, Telemetry
from evolve.errors import EvolveError
from evolve.outcome.replayed import Replayed, Survival, compared, first_broken
from evolve.outcome.verdict import FIRST_STEPS, Verdict
from evolve.run.changes import Changes
from evolve.run.data import survey
from evolve.run.detection import best_path, checkpoint_path, open_study_data, prepare_torch
from evolve.run.judging import gains_of
from evolve.run.lending import Course
from evolve.run.machine import threads_for
from evolve.run.weight_files import pinned
from evolve.storage.database import Storage
from evolve.storage.optuna_tables import PARENT
from evolve.storage.runs import last_run
from evolve.storage.trial_rows import TrialRow, trial_rows
from evolve.study import Study
from evolve.study.noise import Levels, levels_of

if TYPE_CHECKING:
    from detector.checkpoint import Checkpoint
    from detector.plan import TrainingPlan
    from detector.trainer import LaneSpec

TRACED_STEPS = 8
AFTER_SIGN = 2  # steps looked into after the first sign, where all stayed numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """A stored training that diverged, and what is needed to train it again."""

    row: TrialRow
    study: Study
    seed: int
    values: Hyperparameters
    diagnosis: Mapping[str, Any]
    stored: Mapping[int, StepTelemetry]
    epochs: Sequence[EpochMetrics]
    folder: Path
    dataset: Any
    parent: int | None

    @property
    def end(self) -> int:
        """Step at which it diverged."""
        return int(self.diagnosis["step"])

    @property
    def until(self) -> int:
        """The last step to look into: the end, or where the loss only grew, a little after the first sign."""
        sign = self.diagnosis.get("first_sign_step")
        is_number = isinstance(self.diagnosis.get("value"), int | float)  # what is none is stored as text
        return self.end if sign is None or not is_number else min(int(sign) + AFTER_SIGN, self.end)

    @property
    def levels(self) -> Levels:
        """Seeds of what it may differ from others by, as it was trained with them."""
        return levels_of(self.study.noise, self.row.number, self.seed)

    def plan(self, device: str) -> TrainingPlan:
        """Its plan on a device."""
        return self.study.training_plan(device, self.levels.order)

    def lane(self, start: Checkpoint | None, *, traced_from: int | None = None) -> LaneSpec:
        """The training as a lane that keeps nothing, from a checkpoint or from its seed."""
        from detector.checkpoint import Found
        from detector.trainer import LaneSpec

        seed = self.levels.initialisation
        return LaneSpec(values=self.values, seed=seed, start=Found(checkpoint=start), traced_from=traced_from)


def replay(
    storage: Storage, name: str, number: int, *, runs: Path, seed: int | None = None, device: str = "cpu"
) -> Replayed:
    """Trains a diverged training again up to its end, and looks into its last steps.

    Args:
        storage: Database that has the study, which is only read.
        name: Name of the study that the training is of.
        number: Number of the trial within its study, from 0.
        runs: Folder with a folder for each study.
        seed: Seed of the training; None for that of the training that diverged.
        device: torch's name of the device to train on.

    Raises:
        EvolveError: There is no such training, it did not diverge, or its data or checkpoint cannot be used.
    """
    training, notes = _opened(storage, name, number, runs=runs, seed=seed)
    start = _checkpoint(training, device, before=training.until)
    first = 0 if start is None else start.step
    traced: list[StepTraced] = []
    steps: list[StepTelemetry] = []
    traced_from = max(training.until - TRACED_STEPS + 1, first)
    with closing(_records(training, start, device, traced_from=traced_from)) as records:
        for record in records:
            if isinstance(record, StepTraced):
                traced.append(record)
            elif isinstance(record, StepTelemetry):
                steps.append(record)
                if record.step >= training.until:
                    break
    looked_at = tuple(step for step in steps if traced and step.step >= traced[0].step)
    return Replayed(
        study=name,
        trial=number,
        seed=training.seed,
        end=training.end,
        until=training.until,
        from_step=first,
        diagnosis=training.diagnosis,
        comparison=compared(steps, training.stored),
        notes=notes,
        broken=first_broken(traced, {step.step: step for step in looked_at}),
        traced=tuple(traced),
        steps=looked_at,
        files=_files(training, traced[-1].places if traced else ()),
        names=tuple(training.dataset.names),
    )


def survival(
    storage: Storage,
    name: str,
    number: int,
    changes: Changes,
    *,
    runs: Path,
    seed: int | None = None,
    device: str = "cpu",
    epochs: int | None = None,
) -> Survival:
    """Goes on with a diverged training under other hyperparameters, and says whether it survives.

    It goes on from the last checkpoint before its end, or from its seed where there is none or where a change has a
    meaning from the start alone; `Survival.why_from` says so.

    Args:
        storage, name, number, runs, seed, device: Which training it is, where its study and files are, and what to
            train on, as `replay` takes them.
        changes: Hyperparameters and settings to change, with their new values.
        epochs: Number of epochs to train with the changes at most, at least 1; None for all that are left.

    Raises:
        EvolveError: For the reasons for which `replay` raises it; or a change has its effect at the start, and the
            trial went on from another one.
    """
    before, _ = _opened(storage, name, number, runs=runs, seed=seed)
    if before.parent is not None and changes.needs_start:
        text = f"has its effect at the start, and trial {number} went on from trial {before.parent}"
        raise EvolveError(f"--with {changes.needs_start}: {text}")
    start = None if changes.needs_start else _checkpoint(before, device, before=before.end)
    values = Hyperparameters.from_mapping(asdict(before.values) | dict(changes.values))
    training = replace(before, values=values, study=before.study.model_copy(update=dict(changes.study)))
    if start is not None:
        start = replace(start, values=values)
    first_epoch = 0 if start is None else start.epoch + 1
    gains_before, gains = gains_of(before.values), gains_of(values)
    course = Course(training.study, lambda epoch: gains_before if epoch < first_epoch else gains)
    for record in _known(before, first_epoch) if start is not None else ():
        course.take_in(record)
    with closing(_records(training, start, device)) as records:
        trained, ended = _followed(records, course, epochs)
    stopped = LaneEnded(lane=0, step=0, cause=EndCause.STOPPED, reason=f"trained {epochs} epochs")
    judgement = course.judgement(ended or stopped)
    return Survival(
        changes=changes.all,
        from_step=0 if start is None else start.step,
        why_from=_why_from(changes, start),
        epochs=trained,
        is_whole=ended is not None,
        verdict=judgement.verdict,
        reason=judgement.reason,
        fitness=course.fitness[-1] if course.fitness and course.is_finite else None,
    )


def _followed(records: Iterator[Telemetry], course: Course, epochs: int | None) -> tuple[int, LaneEnded | None]:
    """Epochs that a training was followed through, at most so many, and its end if that came."""
    trained = 0
    for record in records:
        course.take_in(record)
        if isinstance(record, LaneEnded):
            return trained, record
        trained += isinstance(record, EpochMetrics) and record.split == "val"
        if trained == epochs:
            break
    return trained, None


def _why_from(changes: Changes, start: Checkpoint | None) -> str:
    if start is not None:
        return f"its checkpoint after epoch {start.epoch}"
    if changes.needs_start:
        return f"its start, where {changes.needs_start} has its effect"
    return "its start, as there is no checkpoint before its end"


def _known(training: _Training, first_epoch: int) -> Iterator[Telemetry]:
    """What is stored of the training before an epoch, by which it is judged."""
    first = (step for number, step in sorted(training.stored.items()) if number < FIRST_STEPS)
    yield from (step for step in first if step.epoch < first_epoch)
    yield from (metrics for metrics in training.epochs if metrics.epoch < first_epoch)


def _opened(
    storage: Storage, name: str, number: int, *, runs: Path, seed: int | None
) -> tuple[_Training, tuple[str, ...]]:
    (row,) = trial_rows(storage.engine, name, number=number)
    study = storage.stored_study(name)
    if study is None or row.diagnosis is None or "step" not in row.diagnosis:
        raise EvolveError(f"trial {number} of study {name}: is {row.verdict}; only one that diverged can be replayed")
    if study.from_epoch:
        raise EvolveError(f"study {name}: changes its values while it trains, which a replay does not follow")
    chosen = _seed(row, study.seeds_of(number), seed)
    trial_id = storage.optuna.get_trial_id_from_study_id_trial_number(storage.study_id(name), number)
    diagnosis = _diagnosis(storage, trial_id, row, chosen)
    run = last_run(storage.engine, storage.study_id(name))
    prepare_torch(num_threads=threads_for(1 if run is None else run.workers))
    study = pinned(study.of_trial(row.params))
    training = _Training(
        row=row,
        study=study,
        seed=chosen,
        values=study.hyperparameters(row.params),
        diagnosis=diagnosis,
        stored={step.step: step for step in storage.records.steps(trial_id, chosen)},
        epochs=storage.records.epochs(trial_id).get(chosen, []),
        folder=runs / name,
        dataset=open_study_data(study, seed=levels_of(study.noise, number, chosen).split),
        parent=storage.optuna.get_trial(trial_id).system_attrs.get(PARENT) if study.pbt is not None else None,
    )
    lanes = 1 if run is None else run.lanes
    notes = [f"it was trained beside others, {lanes} trials at once; here it trains alone"] if lanes > 1 else []
    return training, (*notes, *_data_notes(storage, name, study))


def _seed(row: TrialRow, seeds: Sequence[int], asked: int | None) -> int:
    known = row.diagnosis.get("seed") if row.diagnosis else None
    diverged = [training.seed for training in row.trainings if training.verdict == Verdict.DIVERGED]
    chosen = asked if asked is not None else known if known is not None else (diverged or list(seeds))[0]
    if diverged and chosen not in diverged:
        raise EvolveError(f"--seed {chosen}: that training of trial {row.number} did not diverge; allowed: {diverged}")
    return int(chosen)


def _diagnosis(storage: Storage, trial_id: int, row: TrialRow, seed: int) -> Mapping[str, Any]:
    """Diagnosis of the training with a seed; that of its trial where none of the training's own is stored."""
    training = storage.records.trainings(trial_id).get(seed)
    assert row.diagnosis is not None
    return row.diagnosis if training is None or training.diagnosis is None else json.loads(training.diagnosis)


def _data_notes(storage: Storage, name: str, study: Study) -> Iterator[str]:
    from detector.datasets.listing import changes

    before = storage.ledger.data_files(storage.study_id(name))
    if not before:
        return
    # Boxes count in pixels of what is decoded, so the data are looked at as they were when they were noted.
    if found := changes(before, survey(study.data, skip_unreadable=study.skip_unreadable).files):
        yield f"the data are not what it was trained on: {'; '.join(found)}"


def _checkpoint(training: _Training, device: str, *, before: int) -> Checkpoint | None:
    """The last of the training's checkpoints that is whole and from which a step is still to come, or None."""
    from detector import checkpoint

    path = checkpoint_path(training.folder, training.row.number, training.seed)
    plan = training.plan(device)
    found: list[Checkpoint] = []
    for candidate in (path, checkpoint.before_path(path), best_path(path)):
        try:
            loaded = checkpoint.load(candidate)
            checkpoint.check_same_training(loaded, plan, training.values, training.levels.initialisation)
        except checkpoint.CheckpointError:
            continue
        if loaded.step <= before:
            found.append(loaded)
    if not found and training.parent is not None:
        return _of_parent(training, training.parent)
    return max(found, key=lambda usable: usable.step, default=None)


def _of_parent(training: _Training, parent: int) -> Checkpoint:
    """What a member of a population went on from, under its own hyperparameters.

    Raises:
        EvolveError: It is no longer there.
    """
    from detector import checkpoint

    path = checkpoint_path(training.folder, parent, training.seed)
    try:
        return checkpoint.under(checkpoint.load(path), training.values)
    except checkpoint.CheckpointError as error:
        why = f"went on from trial {parent}, whose weights a study keeps with keep_weights: all"
        raise EvolveError(f"trial {training.row.number}: {why}: {error}") from None


def _records(
    training: _Training, start: Checkpoint | None, device: str, *, traced_from: int | None = None
) -> Generator[Telemetry, None, None]:
    from detector.trainer import Trainer

    trainer = Trainer(training.plan(device), training.dataset, [training.lane(start, traced_from=traced_from)])
    with closing(trainer.fit()) as records:
        yield from records


def _files(training: _Training, places: Sequence[int]) -> tuple[str, ...]:
    """File of each image that is trained on, by its place; none where images are rendered."""
    from detector.batches import used_of

    if not training.dataset.files:
        return ()
    used = used_of(training.dataset.train, training.values.train_share, training.levels.order)
    return tuple(str(used.original(place).image) for place in places)
