"""The data of a run: checked, a study settled with what they hold, and compared with those of earlier trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detector.findings import Finding
from evolve.errors import StudyError
from evolve.run.detection import check_data
from evolve.storage.database import Storage
from evolve.storage.ledger import EventKind
from evolve.study import DIGITS, Study, planning
from evolve.study.file import StudyFile


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChecked:
    """A data set that has been checked and is fit to train on, with what it holds.

    Attributes:
        summary: Counts of images, boxes and classes by split.
        findings: What was clipped, left out or noticed, warnings first.
        note: How the splits were made.
        files: Digest of each image file with its boxes, by the file's name; empty where images are rendered.
        box_sides: By class, the square root of each box's area, as a fraction of the longer side of its image; empty
            where images are rendered.
    """

    summary: dict[str, Any]
    findings: tuple[Finding, ...]
    note: str
    files: dict[str, str] = field(default_factory=dict)
    box_sides: dict[str, list[float]] = field(default_factory=dict)

    def at(self, image_size: int) -> DataChecked:
        """The same, with the boxes that are too small in images of `image_size` pixels a side among the findings."""
        from detector.auditing import small_boxes

        others = [finding for finding in self.findings if finding.kind != "small_boxes"]
        found = (*small_boxes(self.summary["source"], self.box_sides, image_size), *others)
        counts = dict(sorted(Counter(finding.kind for finding in found).items()))
        return replace(self, findings=found, summary=self.summary | {"findings": counts})

    def as_rows(self) -> list[dict[str, Any]]:
        """Findings as storage keeps them."""
        return [
            {"kind": finding.kind, "file": finding.file, "line": finding.line, "message": finding.message}
            for finding in self.findings
        ]


SURVEY_SIZE = 416  # pixels; the published anchors are of images this large


def survey(data: str, *, skip_unreadable: bool, pictures: Path | None = None) -> DataChecked:
    """What a data set holds, before it is known at which size it is trained on.

    Args:
        data: Name of built-in data or a path, the same as `Study.data`.
        skip_unreadable: Whether images that cannot be read are left out.
        pictures: Folder of a run in which its processes share decoded images; None where nothing is shared.

    Raises:
        EvolveError: The data cannot be trained on; the text names files and lines.
    """
    size = survey_size(data)
    return DataChecked(**check_data(data, image_size=size, skip_unreadable=skip_unreadable, pictures=pictures))


def surveyed(study: Study, pictures: Path | None) -> DataChecked:
    """What the data of a study hold, at the size it trains on; `pictures` and errors are those of `survey`."""
    # Images decoded for another size are of no use to those who train.
    shared = pictures if survey_size(study.data) == study.image_size else None
    return survey(study.data, skip_unreadable=study.skip_unreadable, pictures=shared).at(study.image_size)


def survey_size(data: str) -> int:
    """Pixels at which a data set is looked at before it is known at which size it is trained on."""
    return int(Study.model_fields["image_size"].default) if data in DIGITS else SURVEY_SIZE


def settled(file: StudyFile, *, stored: Study | None, device: str) -> tuple[Study, DataChecked | None]:
    """A study with everything chosen that its file leaves to the data, and what the data hold if that was looked up.

    Args:
        file: Study as it is written in its file and on the command line.
        stored: Study that is stored under its name, whose choices are kept; None where there is none.
        device: torch's name of the device to train on.

    Raises:
        EvolveError: The data cannot be trained on, or the study is not allowed.
    """
    if not file.data:
        raise StudyError(
            f"--data: {file.name} has no images of its own; name a folder or file of yours: "
            f"evolve run --study {file.name} --data PATH"
        )
    if stored is not None:
        return file.settled_like(stored), None
    if not planning.needs_data(file):
        return file.preview(), None
    checked = survey(file.data, skip_unreadable=bool(file.raw.get("skip_unreadable")))
    facts = planning.DataFacts.from_summary(file.data, checked.summary)
    start = _network_of(file.raw.get("weights")) if "model" in file.open_keys else ""
    study = planning.settle(file, facts, is_cuda=device.startswith("cuda"), start=start)
    return study, checked.at(study.image_size)


def _network_of(weights: object) -> str:
    """Name of the network whose weights a study's file names; empty where it names none, or the weights do not say."""
    if not isinstance(weights, str) or not weights:
        return ""
    from detector.start import model_of

    return model_of(Path(weights))


def epochs_of(updates: int, training: Mapping[str, Any], *, train_share: float, skip_unreadable: bool) -> int:
    """Epochs in which a single training updates its weights at least so many times.

    Args:
        updates: Number of updates wanted, at least 1.
        training: Values of data, batch_size and nominal_batch_size by these names, where they are not a study's
            defaults.
        train_share: Share of the training images that is used, above 0 and at most 1.
        skip_unreadable: Whether images that cannot be read are left out.

    Raises:
        EvolveError: The data cannot be trained on.
    """
    if updates < 1:
        raise StudyError(f"--updates: {updates} is not at least 1")
    defaults = {key: Study.model_fields[key].default for key in ("data", "batch_size")}
    known = defaults | {key: value for key, value in training.items() if value is not None}
    checked = survey(known["data"], skip_unreadable=skip_unreadable)
    facts = planning.DataFacts.from_summary(known["data"], checked.summary).of_share(train_share)
    return int(planning.epochs_for(updates, facts, known["batch_size"], known.get("nominal_batch_size")).value)


def check_unchanged(storage: Storage, name: str, checked: DataChecked, *, accepts_changed: bool) -> None:
    """Makes sure that trials can be compared with earlier ones, or that a person has accepted that they cannot.

    Raises:
        StudyError: The data have changed and nobody accepted that; the text says what.
    """
    from detector.datasets.listing import changes

    ledger = storage.ledger
    if name not in storage.study_names():
        return
    study_id = storage.study_id(name)
    before = ledger.data_files(study_id)
    if before is None or not (found := changes(before, checked.files)):
        return
    what = f"the data are not what earlier trials were trained on: {'; '.join(found)}"
    if not accepts_changed:
        raise StudyError(
            f"study {name}: {what}. Give this one another --name, or go on with figures that do not compare: "
            "--accept-changed-data"
        )
    ledger.accept_data(study_id, checked.files)
    ledger.note_event(study_id, EventKind.DATA_CHANGED, what)
    storage.forget_unfinished(study_id)
