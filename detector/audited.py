"""What an audit of a data set came to, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from detector.findings import KINDS, Finding, Severity

_ORDER = {name: place for place, name in enumerate(KINDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorChoice:
    """Anchors that a training may use, and how well they fit.

    Attributes:
        source: kmeans over the training boxes, or published.
        number: Number of the anchors, those of all scales together.
        recall: Share of the training boxes that differ from some anchor by at most a factor of four in either side.
        overlap: Mean IoU of a training box and the anchor it overlaps most, both centred on one point.
    """

    source: str
    number: int
    recall: float
    overlap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What a data set holds, and everything wrong with it.

    Attributes:
        source: Name or path of the data set, as `open_dataset` takes it.
        image_size: Side in pixels of the square images that a training would see.
        summary: Counts of images and boxes, as `Dataset.summary` has them; empty where nothing could be opened.
        findings: Errors first, then warnings, then notes; of one severity by kind.
        anchors: How well each choice of anchors fits the training boxes; empty where there are none.
        box_sides: By class, the square root of each box's area, as a fraction of the longer side of its image.
        image_sizes: Width and height of each image in pixels, upright.
        boxes_by_image: Number of boxes of each image.
    """

    source: str
    image_size: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    anchors: tuple[AnchorChoice, ...] = ()
    box_sides: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    image_sizes: tuple[tuple[int, int], ...] = ()
    boxes_by_image: tuple[int, ...] = ()

    def counts(self) -> dict[str, int]:
        """Number of findings by kind, in the order of the findings."""
        return dict(Counter(finding.kind for finding in self.findings))

    def severities(self) -> dict[Severity, int]:
        """Number of findings by severity, 0 included."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in Severity}

    def as_mapping(self) -> dict[str, Any]:
        """What was found as plain values that JSON can hold, without the sizes of boxes and of single images."""
        return {
            "source": self.source,
            "image_size": self.image_size,
            "summary": dict(self.summary),
            "severities": {severity.value: count for severity, count in self.severities().items()},
            "counts": self.counts(),
            "anchors": [asdict(choice) for choice in self.anchors],
            "findings": [{"severity": finding.severity.value, **asdict(finding)} for finding in self.findings],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFinding:
    """A finding to be looked at: its image, or both of a pair side by side, with the boxes it concerns.

    Attributes:
        finding: The finding that the picture shows.
        jpeg: Bytes of the picture as a JPEG file.
    """

    finding: Finding
    jpeg: bytes


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Findings with errors first, then warnings, then notes, and those of a kind together; else as they came."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.kind]))
