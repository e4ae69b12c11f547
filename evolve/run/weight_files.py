"""Files of weights: a detector written for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.errors import EvolveError, unknown_text

if TYPE_CHECKING:
    from detector.predict import Detector


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A detector in another format.

    Attributes:
        files: The file asked for, then those beside it, with their sizes in bytes.
        notes: What there differs, or has to be known to use it.
    """

    files: dict[str, int]
    notes: tuple[str, ...]

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        return {"files": self.files, "notes": list(self.notes)}


def write_as(detector: Detector, form: str, output: Path | None, *, weights: Path) -> Written:
    """Writes a detector for another program.

    Args:
        detector: What is written.
        form: darknet, onnx or torchscript.
        output: The file; with the name of `weights` and the format's suffix where None.
        weights: The file that the detector was read from.

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
