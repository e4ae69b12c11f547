"""What a hyp file's meaning depends on besides its numbers, and what reading, writing and explaining one give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from detector.hyperparameters import Hyperparameters
from detector.plan import NUM_HEADS, TrainingPlan
from evolve.errors import EvolveError, StudyError

LARGEST = {"classes": 1_000_000, "images": 1_000_000_000}


class DialectError(EvolveError):
    """A file is not in its dialect; the text says file, line and column, what was found and what is allowed."""


class RefusedError(StudyError):
    """A dialect would read an export with another meaning; the text says why and what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The training that a hyp file is for.

    Attributes:
        model: Name of a network of `detector.plan.MODELS`.
        classes: Number of classes.
        image_size: Side of the training images in pixels.
        batch_size: Number of images in one forward pass.
        nominal_batch_size: Number of images between two updates, in trainers that let one choose.
        images: Number of training images.
        epochs: Number of passes over the training images.

    Raises:
        ValueError: A value is not allowed.
    """

    model: str = "yolov3"
    classes: int = 80
    image_size: int = 640
    batch_size: int = 16
    nominal_batch_size: int = 64
    images: int = 118_287
    epochs: int = 300

    def __post_init__(self) -> None:
        TrainingPlan(
            model=self.model,
            image_size=self.image_size,
            batch_size=self.batch_size,
            nominal_batch_size=self.nominal_batch_size,
            epochs=self.epochs,
        )
        for name, largest in LARGEST.items():
            if not 1 <= getattr(self, name) <= largest:
                raise ValueError(f"{name}: {getattr(self, name)} is not at least 1 and at most {largest:,}")

    @property
    def layers(self) -> int:
        """Number of detection layers of the model."""
        return NUM_HEADS[self.model]

    @property
    def batches(self) -> int:
        """Number of batches of an epoch, the last one counted even if it is not full."""
        return -(-self.images // self.batch_size)

    @property
    def total_batches(self) -> int:
        """Number of batches of the whole training."""
        return self.batches * self.epochs

    @property
    def accumulation(self) -> int:
        """Number of batches between two updates."""
        return TrainingPlan(batch_size=self.batch_size, nominal_batch_size=self.nominal_batch_size).accumulation

    @property
    def decay_factor(self) -> Fraction:
        """What a trainer of the ultralytics family multiplies a weight decay by."""
        return Fraction(self.batch_size * self.accumulation, self.nominal_batch_size)

    def with_nominal(self, images: int) -> Context:
        """The same training with another number of images between two updates."""
        return replace(self, nominal_batch_size=images)


def is_image_size(side: int) -> bool:
    """Whether images may have a side of so many pixels, as `TrainingPlan` allows."""
    try:
        TrainingPlan(image_size=side)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Hyperparameters as another trainer reads them.

    Attributes:
        dialect: Dialect of the body.
        body: Text of the file without its head.
        how: How to train with it there, a line each.
        notes: What could not be carried over, and why.
    """

    dialect: str
    body: str
    how: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self, origin: tuple[str, ...] = ()) -> str:
        """The whole file: a head of comments and the body.

        Args:
            origin: Lines that say where the values are from.
        """
        lines = [*origin, *self.how]
        if self.notes:
            lines += ["", "Not carried over, or not the same there:", *(f"- {note}" for note in self.notes)]
        return "".join(f"# {' '.join(line.split())}".rstrip() + "\n" for line in lines) + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Hyperparameters read from another trainer's file.

    Attributes:
        values: Hyperparameters in our meaning.
        notes: What was not carried over, and why.
    """

    values: Hyperparameters
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One number that a trainer really uses.

    Attributes:
        name: Name of the key or quantity.
        given: Text of the key in the file, empty if it has none.
        used: The number after the trainer's own arithmetic, with its unit.
        why: The arithmetic in words.
    """

    name: str
    given: str
    used: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a trainer makes of a hyp file.

    Attributes:
        dialect: Dialect of the trainer.
        used: Numbers that the trainer really uses.
        idle: Why a key has no effect, by key.
        problems: What stops the trainer, or turns the meaning of the file around.
    """

    dialect: str
    used: tuple[Used, ...]
    idle: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def short(value: float | Fraction) -> str:
    """A number for people, to five digits."""
    return f"{float(value):.5g}"
