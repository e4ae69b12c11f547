"""What a study leaves open, chosen from what the data hold; and what stands in the way of learning from them.

The rules are for training from scratch: where there are weights to start from, nobody is advised on network or updates.
Each gives its reason, and each can be overridden by an option or in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from detector.declaration import CLASSES, VARIED
from detector.hyperparameters import declarations
from detector.plan import check_share, images_used
from evolve.errors import StudyError
from evolve.study import DIGITS, Study
from evolve.study.file import StudyFile
from evolve.study.space import Choices, as_number

# A box about as wide as a cell of the finest grid of yolov3-tiny (stride 16) can still be told from its neighbours.
WANTED_SIDE_PX = 16
LEAST_SIDE_PX = 8  # still found, worse
# Below it a third head, on cells of 8, finds more: at 10 and 25 px much more, at 40 and 55 as much, at 90 less
# (benchmarks/README.md, accuracy.py).
THREE_HEADS_SIDE_PX = 32
LEAST_SIZE, LARGEST_SIZE_CPU, LARGEST_SIZE_CUDA = 160, 192, 640
# From scratch yolov3-tiny found nothing in photographs before some 100 updates, and still gained at 300.
LEAST_UPDATES = 300
LARGEST_BATCH, LEAST_BATCH, BATCHES_AN_EPOCH = 16, 4, 8
# Fewer validations than this tell neither a pruner nor a verdict where a training is heading.
LEAST_EPOCHS = 8
# Keys of a study by the options that advice names.
KEYS = {"--model": "model", "--updates": "updates", "--image-size": "image_size"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What is known of a data set, on which the choices rest.

    Attributes:
        num_train: Number of training images.
        box_sides: Typical side of a box by class: the median over the training boxes of the square root of the area,
            as a fraction of the image's longer side.
        is_rendered: Whether images are made on the fly, endlessly many.
    """

    num_train: int
    box_sides: Mapping[str, float]
    is_rendered: bool

    @classmethod
    def from_summary(cls, data: str, summary: Mapping[str, Any]) -> DataFacts:
        """The facts in what the data check counted of the data set called `data`."""
        return cls(
            num_train=summary["splits"]["train"]["images"],
            box_sides=dict(summary["box_sides"]),
            is_rendered=data in DIGITS,
        )

    def of_share(self, train_share: float) -> DataFacts:
        """The facts where only a share of the training images is used."""
        return replace(self, num_train=images_used(self.num_train, train_share))

    def updates_an_epoch(self, batch_size: int, nominal_batch_size: int | None = None) -> int:
        """Updates of the weights in one pass over the training images."""
        accumulation = max(round((nominal_batch_size or batch_size) / batch_size), 1)
        return ceil(ceil(self.num_train / batch_size) / accumulation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A value chosen from the data, and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Something that keeps a training from learning, and the option that mends it."""

    option: str
    value: Any
    reason: str


def train_shares(study: Study) -> tuple[float, ...]:
    """Shares of the training images that a study's trainings use; of a range some that stand for all."""
    searched = study.space.get("train_share")
    if searched is None:
        return (study.hyperparameters({}).train_share,)
    values = searched.choices if isinstance(searched, Choices) else searched.values(9)
    return tuple(float(value) for value in values)


def check_shares(study: Study, num_train: int) -> None:
    """Makes sure that every training of a study has a batch of images.

    Raises:
        StudyError: The smallest share that the study fixes or searches is less than a batch.
    """
    searched = study.space.get("batch_size")
    batch_size = study.batch_size if searched is None else int(searched.largest)
    try:
        check_share(num_train, min(train_shares(study)), batch_size)
    except ValueError as error:
        part = "space" if "train_share" in study.space else "hyperparameters"
        raise StudyError(f"study {study.name}: {part}.{error}") from None


def needs_data(file: StudyFile) -> bool:
    """Whether what the data hold decides anything about a study."""
    return bool(file.open_keys) or any(declarations()[name].depends_on_data for name in _hyperparameters(file))


def settle(file: StudyFile, facts: DataFacts, *, is_cuda: bool, start: str = "") -> Study:
    """The study with all that was open chosen; its `decisions` say why.

    Args:
        file: The study as written.
        facts: What is known of the data set.
        is_cuda: Whether a GPU trains, which bears larger images.
        start: Name of the network whose weights the trainings start from; empty where they start from none, or from a
            file that does not say.

    Raises:
        StudyError: The study is not allowed.
    """
    if "train_share" not in file.searched:  # else some trial may use all
        facts = facts.of_share(as_number(file.given.get("train_share", 1.0)))
    decisions = [*_choices(file, facts, is_cuda=is_cuda, start=start), *_left_out(file, facts)]
    values = {decision.key: decision.value for decision in decisions if decision.key in file.open_keys}
    return file.settled(values, {decision.key: decision.reason for decision in decisions})


def _choices(file: StudyFile, facts: DataFacts, *, is_cuda: bool, start: str) -> Iterator[Decision]:
    is_open = set(file.open_keys)
    size = _image_size(facts, is_cuda=is_cuda) if "image_size" in is_open else None
    if "model" in is_open and start:
        yield Decision(key="model", value=start, reason=f"the weights of {file.raw['weights']} are of it")
    elif "model" in is_open:
        image_size = size.value if size else file.raw.get("image_size", Study.model_fields["image_size"].default)
        yield _model(facts, int(image_size), has_weights=bool(file.raw.get("weights")))
    if size is not None:
        yield size
    batch = _batch_size(facts) if "batch_size" in is_open else None
    if batch is not None:
        yield batch
    if "epochs" in is_open:
        batch_size = batch.value if batch else file.raw.get("batch_size", Study.model_fields["batch_size"].default)
        updates = file.updates or LEAST_UPDATES
        yield epochs_for(updates, facts, batch_size, file.raw.get("nominal_batch_size"))


def _model(facts: DataFacts, image_size: int, *, has_weights: bool) -> Decision:
    if facts.is_rendered:
        reason = "rendered digits are learned in seconds by 0.1 million values"
        return Decision(key="model", value="yolov3-tiny-compact", reason=reason)
    if not has_weights and (small := _of_few_cells(facts, image_size)):
        return Decision(key="model", value="yolov3-tiny-3l", reason=f"{small}: a third head has cells of 8")
    reason = "the smallest network that learns photographs; the compact ones are for digits"
    return Decision(key="model", value="yolov3-tiny", reason=reason)


def _of_few_cells(facts: DataFacts, image_size: int) -> str:
    """That the class with the smallest boxes is about as small as yolov3-tiny's finest cells; empty where it is not."""
    name, side = _smallest(facts)
    if side * image_size >= THREE_HEADS_SIDE_PX:
        return ""
    return f"a typical {name} is {side * image_size:.0f} px of {image_size}, cells of yolov3-tiny's finest grid are 16"


def _smallest(facts: DataFacts) -> tuple[str, float]:
    return min(facts.box_sides.items(), key=lambda item: item[1])


def _image_size(facts: DataFacts, *, is_cuda: bool) -> Decision:
    if facts.is_rendered:
        return Decision(key="image_size", value=64, reason="digits are drawn for 64 px")
    wanted, sentence = wanted_size(facts)
    most = LARGEST_SIZE_CUDA if is_cuda else LARGEST_SIZE_CPU
    if wanted > most:
        where = "on a GPU" if is_cuda else "without a GPU"
        return Decision(key="image_size", value=most, reason=f"{sentence}; {most} px is the most {where} by itself")
    return Decision(key="image_size", value=wanted, reason=sentence)


def wanted_size(facts: DataFacts) -> tuple[int, str]:
    """Image size at which the class with the smallest boxes can be seen, a multiple of 32, and the reason."""
    name, side = _smallest(facts)
    size = max(32 * ceil(WANTED_SIDE_PX / side / 32), LEAST_SIZE)
    return size, f"a typical {name} is {side:.0%} of its image: {side * size:.0f} px of {size}"


def _batch_size(facts: DataFacts) -> Decision:
    size = LARGEST_BATCH
    while size > LEAST_BATCH and facts.num_train < BATCHES_AN_EPOCH * size:
        size //= 2
    batches = ceil(facts.num_train / size)
    reason = f"{facts.num_train} training images make {batches} batches an epoch"
    return Decision(key="batch_size", value=size, reason=reason)


def epochs_for(updates: int, facts: DataFacts, batch_size: int, nominal_batch_size: int | None) -> Decision:
    """Epochs in which the weights are updated at least so many times."""
    per_epoch = facts.updates_an_epoch(batch_size, nominal_batch_size)
    epochs = max(ceil(updates / per_epoch), LEAST_EPOCHS)
    reason = f"{updates} updates at {per_epoch} an epoch"
    if epochs * per_epoch >= updates + per_epoch:
        reason = (
            f"at least {LEAST_EPOCHS}, to see a training converge: {epochs * per_epoch} updates at {per_epoch} an epoch"
        )
    return Decision(key="epochs", value=epochs, reason=reason)


def _left_out(file: StudyFile, facts: DataFacts) -> Iterator[Decision]:
    known = {CLASSES: len(facts.box_sides) > 1, VARIED: not facts.is_rendered}
    for name in _hyperparameters(file):
        if reasons := declarations()[name].missing_in_data(known):
            yield Decision(key=f"space.{name}", value=None, reason=f"left out of the space: {' and '.join(reasons)}")


def _hyperparameters(file: StudyFile) -> list[str]:
    """The names in the space that are hyperparameters, and nothing of the plan."""
    return [name for name in file.searched if name in declarations()]


def advice(study: Study, facts: DataFacts) -> tuple[Advice, ...]:
    """What would keep the study's trainings from learning from photographs; empty where nothing is known to."""
    return () if facts.is_rendered else tuple(_obstacles(study, facts))


def _obstacles(study: Study, facts: DataFacts) -> Iterator[Advice]:
    small = _of_few_cells(facts, study.image_size)
    if study.model.endswith("-compact") and not study.weights:
        reason = f"{study.model} is for digits and learns little from photographs"
        yield Advice(option="--model", value="yolov3-tiny-3l" if small else "yolov3-tiny", reason=reason)
    if study.model == "yolov3-tiny" and small and not study.weights:
        yield Advice(option="--model", value="yolov3-tiny-3l", reason=small)
    updates = num_updates(study, facts)
    if updates < LEAST_UPDATES and not study.weights:
        reason = f"{updates} updates; photographs want {LEAST_UPDATES} or more"
        yield Advice(option="--updates", value=2 * LEAST_UPDATES, reason=reason)
    wanted, sentence = wanted_size(facts)
    if _smallest(facts)[1] * study.image_size < LEAST_SIDE_PX:
        reason = f"at {study.image_size} px the smallest boxes are below a cell of the grid; {sentence}"
        yield Advice(option="--image-size", value=wanted, reason=reason)


def endless_warmup(study: Study, facts: DataFacts) -> str:
    """That a warm-up of so many batches does not end within a training of a study; empty where it does.

    What `warmup_epochs` says of it needs no data: `evolve.study.checks`.
    """
    searched, batches_of = study.space.get("warmup_steps"), study.space.get("batch_size")
    longest = study.hyperparameters({}).warmup_steps if searched is None else float(searched.largest)
    smallest = min(map(int, batches_of.choices)) if isinstance(batches_of, Choices) else study.batch_size
    batches = study.epochs * ceil(facts.of_share(max(train_shares(study))).num_train / smallest)
    if longest < batches:
        return ""
    part = "hyperparameters" if searched is None else "space"
    return f"{part}.warmup_steps: a warm-up of {longest:,.0f} batches does not end within a training of {batches:,}"


def num_updates(study: Study, facts: DataFacts) -> int:
    """Updates of the weights in one training of a study, on as many images as any of them uses."""
    used = facts.of_share(max(train_shares(study)))
    return study.epochs * used.updates_an_epoch(study.batch_size, study.nominal_batch_size)


def remedies(study: Study, facts: DataFacts) -> tuple[Advice, ...]:
    """What to change when no trial of a study has left the ground, the likeliest first."""
    if known := advice(study, facts):
        return known
    updates = num_updates(study, facts)
    return (Advice(option="--updates", value=2 * updates, reason=f"{updates} updates were not enough"),)
