"""A data set audited, drawn where something was found, and put right in a copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.audited import Audited, DrawnFinding
from detector.findings import Box, Finding
from evolve.errors import EvolveError

if TYPE_CHECKING:
    from detector.datasets import Dataset

# What a page can bear: at about 20 kB each, four megabytes.
MOST_DRAWN, MOST_DRAWN_OF_KIND = 200, 12
DRAWN_PIXELS = 350  # three stand side by side on a page
_QUALITY = 80


class Auditing:
    """An audit of a data set, and what can be made of it.

    Args:
        data: digits, or the path of a data set.
        image_size: Side in pixels of the square images that would be trained on.

    Attributes:
        result: What the data set holds, and everything that is wrong with it.
    """

    def __init__(self, data: str, *, image_size: int) -> None:
        from detector.auditing import audit

        if image_size < 32:
            raise EvolveError(f"--image-size {image_size}: allowed: 32 or more")
        self.result: Audited
        self._dataset: Dataset | None
        self.result, self._dataset = audit(data, image_size=image_size)

    def drawn(self) -> tuple[DrawnFinding, ...]:
        """Pictures of the first findings of each kind that concern images, those that can be read."""
        boxes = self._boxes_by_image()
        by_kind = groupby((finding for finding in self.result.findings if finding.images), lambda found: found.kind)
        kinds = (islice(_drawn(found, boxes), MOST_DRAWN_OF_KIND) for _, found in by_kind)
        return tuple(islice((drawn for kind in kinds for drawn in kind), MOST_DRAWN))

    def _boxes_by_image(self) -> dict[str, tuple[Box, ...]]:
        splits = {} if self._dataset is None else self._dataset.splits()
        originals = (split.original(index) for split in splits.values() for index in range(len(split)))
        return {str(original.image): original.boxes for original in originals if isinstance(original.image, Path)}

    @staticmethod
    def check_copy(data: str, out: Path) -> None:
        """Makes sure that a corrected copy can be written to a folder, before the data are looked through.

        Raises:
            EvolveError: The folder holds something, or the data are of no known format.
        """
        from detector.datasets import DataError, format_of
        from detector.datasets.writing import check_target

        try:
            check_target(out, format_of(data))
        except DataError as error:
            raise EvolveError(f"--fix {error}") from error

    def fix(self, out: Path) -> FixedCopy:
        """Writes a corrected copy to a new folder, in the format of the data set, and audits it.

        Raises:
            EvolveError: The folder is there already, or nothing is left to be trained on.
        """
        from detector.datasets import DataError, format_of
        from detector.datasets.fixing import fixed
        from detector.datasets.writing import write_dataset

        data = self.result.source
        if self._dataset is None or not self._dataset.files:
            raise EvolveError(f"data {data}: cannot be put right; allowed: a data set of files that can be opened")
        put_right = fixed(self._dataset, self.result.findings)
        if not put_right.splits["train"]:
            raise EvolveError(f"data {data}: no training image would be left; nothing was written")
        try:
            names = self._dataset.names
            write_dataset(out, format_name=format_of(data), names=names, splits=put_right.splits)
        except DataError as error:
            raise EvolveError(f"--fix {error}") from error
        after = Auditing(str(out), image_size=self.result.image_size).result
        return FixedCopy(folder=str(out), done=put_right.done, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCopy:
    """A corrected copy of a data set.

    Attributes:
        folder: Path of the folder that holds the copy.
        done: Findings whose messages say everything that was done to the data in the copy.
        after: Result of an audit of the copy.
    """

    folder: str
    done: tuple[Finding, ...]
    after: Audited

    def as_mapping(self) -> dict[str, Any]:
        """The copy as plain values, for machines."""
        return {
            "folder": self.folder,
            "done": [asdict(finding) for finding in self.done],
            "after": self.after.as_mapping(),
        }


def _drawn(findings: Iterator[Finding], boxes: Mapping[str, Sequence[Box]]) -> Iterator[DrawnFinding]:
    from detector.datasets import UnreadableImagesError
    from detector.drawing import jpeg, marked, side_by_side

    for finding in findings:
        try:
            pictures = [
                marked(Path(image), boxes.get(image, ()), () if place else finding.boxes, longest=DRAWN_PIXELS)
                for place, image in enumerate(finding.images)
            ]
        except UnreadableImagesError:
            continue
        yield DrawnFinding(finding=finding, jpeg=jpeg(side_by_side(pictures), quality=_QUALITY))
