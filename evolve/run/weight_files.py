"""Files of weights: what a study's trainings start from, and a detector written for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.errors import EvolveError, unknown_text
from evolve.study import Study

if TYPE_CHECKING:
    from detector.predict import Detector


def checksum(weights: object) -> str:
    """SHA-256 of a file of weights as a study has it; empty where there is none.

    Raises:
        EvolveError: The file cannot be read.
    """
    from detector.models.darknet_files import WeightsError
    from detector.start import sha256_of

    if not isinstance(weights, str) or not weights:
        return ""
    try:
        return sha256_of(Path(weights))
    except WeightsError as error:
        raise EvolveError(f"weights {error}") from error


def pinned(study: Study) -> Study:
    """The study with the checksum of the weights it starts from, where it has none yet."""
    return study if study.weights_sha256 else study.model_copy(update={"weights_sha256": checksum(study.weights)})


def start_text(study: Study, classes: Sequence[str]) -> str:
    """What the trainings of a study take from its weights, and what is frozen; empty where they start from random ones.

    Args:
        study: Study whose trainings start from the weights.
        classes: Names of the classes in its data, by index.

    Raises:
        EvolveError: The weights cannot be used.
    """
    from detector.start import load_start

    try:
        return load_start(study.training_plan("cpu", study.seeds[0]), classes, study.hyperparameters({})).text
    except ValueError as error:
        raise EvolveError(f"weights {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A detector in another format.

    Attributes:
        files: Sizes in bytes by path, of the file asked for, then of those beside it.
        notes: What differs in the files from the detector here, or has to be known to use them, a sentence each.
    """

    files: dict[str, int]
    notes: tuple[str, ...]

    def as_mapping(self) -> dict[str, Any]:
        """The files and notes as plain values, for machines."""
        return {"files": self.files, "notes": list(self.notes)}


def write_as(detector: Detector, form: str, output: Path | None, *, weights: Path) -> Written:
    """Writes a detector for another program.

    Args:
        detector: Detector to write.
        form: Format to write: darknet, onnx or torchscript.
        output: File to write; None for one with the name of `weights` and the format's suffix.
        weights: File that the detector was read from.

    Raises:
        EvolveError: The format is unknown, cannot hold the detector, or needs a package that is not installed.
        OSError: The file cannot be written.
    """
    from detector.exported import FORMATS, ExportError

    if form not in FORMATS:
        raise EvolveError(f"--to: {unknown_text('format', form, FORMATS)}")
    suffix, write = FORMATS[form]
    path = weights.with_suffix(suffix) if output is None else output
    if path.suffix != suffix:
        raise EvolveError(f"-o {path}: does not end in {suffix}, as files of {form} do here")
    try:
        exported = write(detector, path)
    except ExportError as error:
        raise EvolveError(f"--to {form}: {error}") from error
    return Written(files={str(file): file.stat().st_size for file in exported.files}, notes=exported.notes)
