"""Our tables, beside Optuna's in the same database; all names begin with `evolve_`.

Optuna's tables are the truth for studies, trials, parameters, values and states; `study_id` and `trial_id` are
Optuna's own ids. Ours hold what it has no place for. A column of type `Real` reads NULL as not-a-number, since
SQLite stores NaN so; infinities stay infinite. Terms of scales that a network does not have are NULL too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from math import isnan, nan
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from detector.observations import LayerInspected, ScaleObjectness
from detector.telemetry import TERMS as TERMS
from detector.telemetry import ClassScores, EpochMetrics, StepTelemetry

# What an evolve that knows no migrations refuses.
SCHEMA_VERSION = 2
MAX_SCALES = 3  # heads of yolov3; tiny has two


class Real(TypeDecorator[float]):
    """A double whose NaN is stored as NULL on every database, and read back as NaN."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        return None if value is None or isnan(value) else float(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> float:  # noqa: ARG002
        return nan if value is None else float(value)  # the one nan that records compare equal by


# Columns of what telemetry groups: loss terms by scale of a step, by split of an epoch.
STEP_LOSSES = {f"{term}_{scale}": (term, scale) for term in TERMS for scale in range(MAX_SCALES)}
EPOCH_LOSSES = {
    f"{prefix}_{term}": (name, term)
    for prefix, name in (("train", "train_losses"), ("loss", "losses"))
    for term in TERMS
}
# Types of telemetry's scalars; what is no scalar has columns of its own, and lanes are told apart by their training.
_TYPES: dict[str, Any] = {"int": Integer, "float": Real, "bool": Boolean, "str": String(8)}


def scalar_names(record: type[Any]) -> tuple[str, ...]:
    """Fields of a kind of telemetry that are a column each: a scalar that is measured is declared there alone."""
    return tuple(field.name for field in fields(record) if field.type in _TYPES and field.name != "lane")


def _scalars(record: type[Any], *, keys: tuple[str, ...]) -> Iterator[Column[Any]]:
    types = {field.name: str(field.type) for field in fields(record)}
    for name in (*keys, *(name for name in scalar_names(record) if name not in keys)):
        kind = types[name]
        yield Column(name, _TYPES[kind], primary_key=name in keys, autoincrement=False, nullable=kind == "float")


def _of_training() -> tuple[Column[Any], Column[Any]]:
    return tuple(Column(name, Integer, primary_key=True, autoincrement=False) for name in ("trial_id", "seed"))  # type: ignore[return-value]


metadata = MetaData()

schema_version = Table("evolve_schema", metadata, Column("version", Integer, primary_key=True))

revision = Table("evolve_version", metadata, Column("version_num", String(32), primary_key=True))  # Alembic's

# One row a study: the study as it was read, all defaults filled in, so that it can be shown and continued.
study = Table(
    "evolve_study",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("config", Text, nullable=False),  # JSON of the resolved study
    Column("created", Real, nullable=False),  # seconds since 1970
    Column("data_summary", Text, nullable=False, default="{}"),  # JSON: counts of images, boxes, classes by split
)

# Who is running a study now: at most one row a study, taken and released by the runner.
lease = Table(
    "evolve_lease",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("token", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("heartbeat", Real, nullable=False),  # seconds since 1970
)

# One row for each run of a study, from before its first worker is started to its end.
run = Table(
    "evolve_run",
    metadata,
    Column("run_id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("started", Real, nullable=False),  # seconds since 1970
    Column("heartbeat", Real, nullable=False),  # the same; of one that was killed the last that is known
    Column("ended", Real),  # the same; NULL while it runs and where it was killed
    Column("workers", Integer, nullable=False),  # processes that train
    Column("lanes", Integer, nullable=False),  # trials that each of them trains at once
    Column("engine", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("device", String(64), nullable=False),  # torch's name
)

environment = Table(
    "evolve_environment",
    metadata,
    Column("environment_id", String(64), primary_key=True),  # SHA-256 of the JSON
    Column("facts", Text, nullable=False),  # JSON: versions, device, commit, machine
)

trial = Table(
    "evolve_trial",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("study_id", Integer, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("environment_id", String(64), nullable=False),
    Column("started", Real, nullable=False),
    Column("ended", Real),
    Column("seconds", Real),  # of training, over all starts of the trial
    Column("verdict", String(16)),  # as evolve.outcome.verdict.Verdict; NULL while it runs
    Column("reason", Text),
    Column("diagnosis", Text),  # JSON of forensics.Diagnosis for a diverged trial
    Column("traceback", Text),  # of a failed trial
    Column("fitness", Real),  # mean over seeds at the last epoch
    Column("lost", Real),  # seconds trained and measured that were trained again; NULL where there are none
)

# One row for each training of a trial that has ended: the trial trained with one of its seeds.
training = Table(
    "evolve_training",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("seed", Integer, primary_key=True, autoincrement=False),
    Column("verdict", String(16)),  # NULL where only the trial's is known
    Column("reason", Text, nullable=False, default=""),
    Column("diagnosis", Text),  # JSON of forensics.Diagnosis for one that diverged
    Column("fitness", Real),  # on the validation images after its last epoch
    Column("seconds", Real),  # over all its starts
    Column("validating", Real),  # of these, what was no step of training; NULL where it is not known yet
)

# One row for each epoch of a training and split: what `EpochMetrics` says, and the fitness that comes of it.
epoch = Table(
    "evolve_epoch",
    metadata,
    *_of_training(),
    *_scalars(EpochMetrics, keys=("split", "epoch")),
    *(Column(name, Real) for name in EPOCH_LOSSES),
    Column("fitness", Real),
)

# One row for each step of a training: what `StepTelemetry` says.
step = Table(
    "evolve_step",
    metadata,
    *_of_training(),
    *_scalars(StepTelemetry, keys=("step",)),
    *(Column(name, Real) for name in STEP_LOSSES),
    Column("num_scales", Integer, nullable=False, default=MAX_SCALES),  # terms of further scales do not exist
)

# One row for each class, epoch of a training and split: what `ClassScores` says.
class_scores = Table(
    "evolve_class_scores",
    metadata,
    *_of_training(),
    *_scalars(ClassScores, keys=("split", "epoch", "class_index")),
)

# One row for each scale, matched or not, epoch of a training and split: what `ScaleObjectness` says.
objectness = Table(
    "evolve_objectness",
    metadata,
    *_of_training(),
    *_scalars(ScaleObjectness, keys=("split", "epoch", "scale", "is_matched")),
    Column("histogram", Text, nullable=False),  # JSON: counts by objectness
    Column("density", Text, nullable=False),  # JSON: counts by objectness and overlap
)

# One row for each part, layer and count of epochs after which a training was looked into: what `LayerInspected` says.
layer = Table(
    "evolve_layer",
    metadata,
    *_of_training(),
    Column("part", String(16), primary_key=True),
    *_scalars(LayerInspected, keys=("epoch", "layer")),
    Column("histogram", Text, nullable=False),  # JSON: thousandths of the values
)

# Small pictures of a study, each once however many trainings show it.
picture = Table(
    "evolve_picture",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("picture_id", String(64), primary_key=True),  # SHA-256 of the JPEG and its boxes
    Column("jpeg", LargeBinary, nullable=False),
    Column("width", Integer, nullable=False),  # pixels
    Column("height", Integer, nullable=False),
    Column("boxes", Text, nullable=False),  # JSON: labels, each as `detector.observations.Box`
)

# Which pictures a training shows, in the order in which `evolve_watched` has its boxes.
taken = Table(
    "evolve_taken",
    metadata,
    *_of_training(),
    Column("split", String(8), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("picture_id", String(64), nullable=False),
)

# One row for each epoch of a training whose detections are kept.
watched = Table(
    "evolve_watched",
    metadata,
    *_of_training(),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("boxes", Text, nullable=False),  # JSON: detections by picture, each as `detector.observations.Box`
)
# What trainings yield: removed with a trial that trains from its beginning.
OF_TRAININGS = (training, epoch, step, class_scores, objectness, layer, taken, watched)

checkpoint = Table(
    "evolve_checkpoint",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("seed", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("path", Text, nullable=False),  # relative to the run folder of the study
)

# One row a study that has been run since: what its checkpoints carry, and the files it was trained on.
identity = Table(
    "evolve_identity",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("identity", String(32), nullable=False),  # random, made with the study
    Column("data_files", Text, nullable=False),  # JSON: digest of size and labels by file
)

# Events of a study that are no result of a trial: a worker that died, a checkpoint passed over, changed data.
event = Table(
    "evolve_event",
    metadata,
    Column("event_id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("trial_id", Integer),
    Column("created", Real, nullable=False),  # seconds since 1970
    Column("kind", String(32), nullable=False),  # as evolve.storage.ledger.EventKind
    Column("message", Text, nullable=False),
)

# The pruner's decision after an epoch, kept before anybody acts on it, so that it is never asked a second time.
decision = Table(
    "evolve_decision",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("is_pruned", Boolean, nullable=False),
    Column("attributes", Text, nullable=False),  # JSON: what the pruner writes to the trial, such as rungs passed
)

# What people wrote about a trial.
note = Table(
    "evolve_note",
    metadata,
    Column("note_id", Integer, primary_key=True),
    Column("trial_id", Integer, nullable=False, index=True),
    Column("created", Real, nullable=False),  # seconds since 1970
    Column("author", String(255), nullable=False, default=""),
    Column("text", Text, nullable=False, default=""),
    Column("tag", String(64), nullable=False, default=""),
)

# What the data set's check clipped or left out, so that nothing is dropped in silence.
data_finding = Table(
    "evolve_data_finding",
    metadata,
    Column("finding_id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False),
    Column("kind", String(32), nullable=False),  # clipped, no_area, outside, empty_image, ...
    Column("file", Text, nullable=False),
    Column("line", Integer),
    Column("message", Text, nullable=False),
)
Index("ix_evolve_data_finding_study", data_finding.c.study_id)
