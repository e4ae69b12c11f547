"""The text files of a data set in each format that is written, as pure functions of its images and boxes.

Boxes come in as x0 y0 x1 y1 in pixels, counted from the image's top left corner. Sources of the formats: as of their
readers; ids of COCO begin at 1, as in its own files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import PurePath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from detector.findings import Box
from detector.yaml_text import dump

_DECIMALS = 4  # of a pixel: boxes come back to within a thousandth of one
_LEAST_SIDE = 1.001  # px: in VOC's inclusive corners a box one pixel wide is one without a width


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An image in the new folder: name of its file, width and height in pixels, boxes and their class indices."""

    name: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    labels: tuple[int, ...]

    @property
    def stem(self) -> str:
        """Name of the file without its suffix."""
        return PurePath(self.name).stem


Images = Mapping[str, Sequence[Labelled]]  # by split
Texts = Iterator[tuple[str, str]]  # paths within the folder, and what goes there


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a format lays out its folder.

    Attributes:
        image_folder: Where images go within the new folder; `{split}` stands for their split.
        texts: Function that gives paths and texts of all other files, from class names and images.
        fitted: Function that gives a box as the format can hold it, from the box and the size of its image, in pixels.
        takes_any_name: Whether class names may have line breaks, or blanks at their ends.
    """

    image_folder: str
    texts: Callable[[Sequence[str], Images], Texts]
    fitted: Callable[[Box, tuple[int, int]], Box]
    takes_any_name: bool


def _as_it_is(box: Box, size: tuple[int, int]) -> Box:  # noqa: ARG001  other formats ask for it
    return box


def _yolo(names: Sequence[str], images: Images) -> Texts:
    yield "data.yaml", dump({split: f"images/{split}" for split in images} | {"names": list(names)})
    for split, listed in images.items():
        for image in listed:
            lines = (_yolo_line(box, label, image.size) for box, label in zip(image.boxes, image.labels, strict=True))
            yield f"labels/{split}/{image.stem}.txt", "".join(lines)


def _yolo_line(box: Box, label: int, size: tuple[int, int]) -> str:
    (x0, y0, x1, y1), (width, height) = box, size
    fractions = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return f"{label} {' '.join(f'{fraction:.9g}' for fraction in fractions)}\n"


def _voc(names: Sequence[str], images: Images) -> Texts:
    yield "classes.txt", _lines(names)
    for split, listed in images.items():
        yield f"ImageSets/Main/{split}.txt", _lines(image.stem for image in listed)
        for image in listed:
            yield f"Annotations/{image.stem}.xml", _annotation(image, names)


def _annotation(image: Labelled, names: Sequence[str]) -> str:
    top = Element("annotation")
    SubElement(top, "folder").text = "JPEGImages"
    SubElement(top, "filename").text = image.name
    size = SubElement(top, "size")
    for key, number in zip(("width", "height", "depth"), (*image.size, 3), strict=True):
        SubElement(size, key).text = str(number)
    for (x0, y0, x1, y1), label in zip(image.boxes, image.labels, strict=True):
        found = SubElement(top, "object")
        SubElement(found, "name").text = names[label]
        SubElement(found, "difficult").text = "0"
        box = SubElement(found, "bndbox")
        for key, corner in zip(("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x1, y1), strict=True):
            SubElement(box, key).text = f"{corner:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    indent(top)
    return tostring(top, encoding="unicode") + "\n"


def _wide_enough(box: Box, size: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    x0, x1 = _widened(x0, x1, size[0])
    y0, y1 = _widened(y0, y1, size[1])
    return x0, y0, x1, y1


def _widened(low: float, high: float, length: int) -> tuple[float, float]:
    if high - low >= _LEAST_SIDE:
        return low, high
    low = min(max((low + high - _LEAST_SIDE) / 2, 0.0), length - _LEAST_SIDE)
    return low, low + _LEAST_SIDE


def _coco(names: Sequence[str], images: Images) -> Texts:
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    for split, listed in images.items():
        pictures: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number, image in enumerate(listed, start=1):
            width, height = image.size
            pictures.append({"id": number, "file_name": image.name, "width": width, "height": height})
            for box, label in zip(image.boxes, image.labels, strict=True):
                annotations.append(_coco_object(box, label) | {"id": len(annotations) + 1, "image_id": number})
        content = {"images": pictures, "annotations": annotations, "categories": categories}
        yield f"annotations/instances_{split}.json", json.dumps(content) + "\n"


def _coco_object(box: Box, label: int) -> dict[str, object]:
    x0, y0, x1, y1 = box
    bbox = [round(number, _DECIMALS) for number in (x0, y0, x1 - x0, y1 - y0)]
    return {"category_id": label + 1, "bbox": bbox, "area": round(bbox[2] * bbox[3], _DECIMALS), "iscrowd": 0}


def _listing(names: Sequence[str], images: Images) -> Texts:
    yield "classes.txt", _lines(names)
    for split, listed in images.items():
        yield f"{split}.txt", _lines(_listed(image) for image in listed)


def _listed(image: Labelled) -> str:
    boxes = (
        ",".join(f"{number:.0f}" for number in (*box, label))
        for box, label in zip(image.boxes, image.labels, strict=True)
    )
    return " ".join((f"images/{image.name}", *boxes))


def _whole(box: Box, size: tuple[int, int]) -> Box:  # noqa: ARG001  as above
    # The trainers that read such lists take whole pixels alone.
    x0, y0, x1, y1 = box
    x0, x1 = _whole_sides(x0, x1)
    y0, y1 = _whole_sides(y0, y1)
    return x0, y0, x1, y1


def _whole_sides(low: float, high: float) -> tuple[float, float]:
    near = (float(round(low)), float(round(high)))
    return near if near[1] > near[0] else (float(floor(low)), floor(low) + 1.0)


def _lines(lines: Iterator[str] | Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


FORMATS = {
    "yolo": Format(image_folder="images/{split}", texts=_yolo, fitted=_as_it_is, takes_any_name=True),
    "voc": Format(image_folder="JPEGImages", texts=_voc, fitted=_wide_enough, takes_any_name=False),
    "coco": Format(image_folder="{split}", texts=_coco, fitted=_as_it_is, takes_any_name=True),
    "listing": Format(image_folder="images", texts=_listing, fitted=_whole, takes_any_name=False),
}
