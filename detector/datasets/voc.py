"""Data sets in Pascal VOC's layout: an XML file for each image, and text files that list the splits.

Corners are pixels counted from 1 and inclusive, as VOC's development kit defines them, unless some corner of the
data set is 0: then its pixels are counted from 0. Source: Everingham et al., VOC2012 development kit, 2012.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from detector.datasets.audit import Audit, Entry, LabelledObject
from detector.datasets.files import Listing
from detector.datasets.layout import unknown_layout, voc_folders
from detector.datasets.listing import DataError
from detector.datasets.pictures import SUFFIXES
from detector.datasets.places import both_there, class_list, list_lines, shown_classes
from detector.findings import Box
from detector.text_files import TextFileError, read_bytes
from detector.written_numbers import as_float

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_CLASS_FILES = ("classes.txt", "names.txt")
_MAX_BYTES, _MAX_ELEMENTS = 2**21, 100_000  # of an annotation: thousands of objects fit
_YES = ("1", "true", "yes")  # the development kit writes 0 and 1, some tools words
_LINE = "line of the file"  # attribute in which parsed elements keep where they began; no XML name has blanks


@dataclass(frozen=True, slots=True, kw_only=True)
class VocObject:
    """One object as written: class name, corners, line."""

    name: str
    corners: Box
    line: int
    is_difficult: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One XML file as written; `image_name` without folders, empty where it has none."""

    file: Path
    image_name: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read_voc(root: Path, audit: Audit) -> Listing:
    """Images and objects of a VOC folder.

    Args:
        root: Folder of XML files and images, in folders named as `detector.datasets.layout` lists them or in itself.
        audit: Collects what is wrong with annotations and split files.

    Raises:
        DataError: The folder is not laid out like VOC, or its split files leave no training images.
    """
    if (folders := voc_folders(root)) is None:
        raise DataError(f"{root}: {unknown_layout(root)}; allowed: a Pascal VOC folder")
    images, files = _by_stem(folders[1], SUFFIXES), _by_stem(folders[0], (".xml",))
    parsed = {stem: _annotation(there, audit) for stem, there in files.items()}
    for stem in sorted(set(parsed) - set(images)):
        message = f"no image; allowed: one of {stem}.* in {folders[1]}"
        audit.problem(files[stem][0], None, message, kind="missing_image")
    annotations = {stem: annotation for stem, annotation in parsed.items() if annotation is not None}
    names = _names(root, annotations.values())
    objects = [labelled for annotation in annotations.values() for labelled in annotation.objects]
    first = 0.0 if any(0 in labelled.corners[:2] for labelled in objects) else 1.0
    splits, note = _parts(root, images, partial(_image, images=images, annotations=annotations, audit=audit), audit)
    entries = {
        split: [
            _entry(image, annotations[image.stem], names, first, audit)
            if image.stem in annotations
            else Entry(image=image, label_file=next(iter(files.get(image.stem, ())), None))
            for image in listed
        ]
        for split, listed in splits.items()
    }
    return Listing(source=str(root), names=names, entries=entries, note=f"{note}; corners counted from {first:g}")


def _child(folder: Path, lower_name: str) -> Path | None:
    matches = (path for path in sorted(folder.iterdir()) if path.name.lower() == lower_name) if folder.is_dir() else ()
    return next(iter(matches), None)


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, []).append(path)
    return found


def _image(
    stem: str,
    name: str = "",
    *,
    images: Mapping[str, Sequence[Path]],
    annotations: Mapping[str, Annotation],
    audit: Audit,
) -> Path | None:
    """The image with a stem; of several the one that a split file calls `name`, or the annotation."""
    there, annotation = images[stem], annotations.get(stem)
    called = {name, annotation.image_name if annotation else ""}
    named = there if len(there) == 1 else [path for path in there if path.name in called]
    if len(named) == 1:
        return named[0]
    place = annotation.file if annotation else there[0]
    audit.problem(place, None, f"{both_there(there)}; allowed: one that <filename> or the split file names")
    return None


def _annotation(files: Sequence[Path], audit: Audit) -> Annotation | None:
    file = files[0]
    if len(files) > 1:
        audit.problem(file, None, f"{both_there(files)}; allowed: one of them")
    try:
        top = parse_xml(read_bytes(file, max_bytes=_MAX_BYTES))
        objects = tuple(_object(element) for element in top.findall("object"))
        image_name = re.split(r"[/\\]", (top.findtext("filename") or "").strip())[-1]
        return Annotation(file=file, image_name=image_name, size=_size(top), objects=objects)
    except TextFileError as error:
        audit.problem(file, None, f"{error}; allowed: VOC annotations")
    except (expat.ExpatError, LookupError) as error:  # LookupError: an encoding that Python does not know
        audit.problem(file, getattr(error, "lineno", None), f"not readable as XML ({error}); allowed: VOC annotations")
    except _MalformedError as error:
        audit.problem(file, error.line, str(error))
    except ValueError as error:  # an encoding that expat does not take
        audit.problem(file, None, f"not readable as XML ({error}); allowed: VOC annotations in UTF-8")
    return None


class _MalformedError(ValueError):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def parse_xml(data: bytes) -> Element:
    """The VOC annotation in `data`; each element keeps the line it began in.

    A document type is refused: entities can blow up without end, and VOC has none.

    Raises:
        xml.parsers.expat.ExpatError: The XML is not well formed.
        ValueError: It has a document type or is not an <annotation>.
    """
    builder, parser, num_elements = TreeBuilder(), expat.ParserCreate(), 0

    def refuse(*_: object) -> None:
        raise _MalformedError(
            parser.CurrentLineNumber, "document type or entity declared; allowed: XML without <!DOCTYPE>"
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal num_elements
        num_elements += 1
        if num_elements > _MAX_ELEMENTS:
            raise _MalformedError(parser.CurrentLineNumber, f"more than {_MAX_ELEMENTS:,} elements; allowed: fewer")
        builder.start(tag, {**attributes, _LINE: str(parser.CurrentLineNumber)})

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    top = builder.close()
    if top.tag != "annotation":
        raise _MalformedError(1, f"<{top.tag}> at the top; allowed: <annotation>")
    return top


def _text(element: Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise _MalformedError(int(element.attrib[_LINE]), f"<{element.tag}> without {path}; allowed: one that has it")
    return text


def _number(element: Element, path: str) -> float:
    text = _text(element, path)
    if isnan(number := as_float(text)):
        raise _MalformedError(int(element.attrib[_LINE]), f"{path} {text!r:.80} in <{element.tag}>; allowed: a number")
    return number


def _size(top: Element) -> tuple[int, int] | None:
    if top.find("size") is None:
        return None
    return int(_number(top, "size/width")), int(_number(top, "size/height"))


def _object(element: Element) -> VocObject:
    x0, y0, x1, y1 = (_number(element, f"bndbox/{corner}") for corner in _CORNERS)
    return VocObject(
        name=_text(element, "name"),
        corners=(x0, y0, x1, y1),
        line=int(element.attrib[_LINE]),
        is_difficult=(element.findtext("difficult") or "0").strip().lower() in _YES,
    )


def _names(root: Path, annotations: Iterable[Annotation]) -> tuple[str, ...]:
    for file in (root / name for name in _CLASS_FILES):
        if file.is_file():
            return class_list(file)
    return tuple(sorted({found.name for annotation in annotations for found in annotation.objects}))


def _entry(image: Path, annotation: Annotation, names: tuple[str, ...], first: float, audit: Audit) -> Entry:
    objects = []
    for found in annotation.objects:
        if found.name not in names:
            message = f"class {found.name!r:.80} is not known; allowed: {shown_classes(names)}"
            audit.problem(annotation.file, found.line, message, kind="unknown_class")
            continue
        if found.is_difficult:
            audit.finding(
                "difficult", annotation.file, found.line, f"{found.name} is marked difficult; kept", images=[image]
            )
        objects.append(LabelledObject(label=names.index(found.name), box=_box(found.corners, first), line=found.line))
    return Entry(image=image, label_file=annotation.file, objects=tuple(objects), stated_size=annotation.size)


def _box(corners: Box, first: float) -> Box:
    x0, y0, x1, y1 = corners
    if x1 <= x0 or y1 <= y0:
        return corners  # two equal corners are a slip of the mouse, not a box one pixel wide
    return x0 - first, y0 - first, x1, y1


def _parts(
    root: Path, images: Mapping[str, Sequence[Path]], image_of: Callable[..., Path | None], audit: Audit
) -> tuple[dict[str, list[Path]], str]:
    files = _split_files(root)
    splits = {split: _listed(file, images, image_of, audit) for split, file in files.items()}
    both = splits.pop("trainval", None)
    if not files:
        splits["train"] = [image for stem in sorted(images) if (image := image_of(stem)) is not None]
    elif "train" not in splits and both is not None:
        others = set(splits.get("val", ()))
        splits["train"] = [image for image in both if image not in others]
    if "train" not in splits:
        raise DataError(
            f"{root}: split files for {', '.join(files)} only; allowed: train.txt or trainval.txt among them"
        )
    _note_unlisted(root, {path for there in images.values() for path in there}.difference(*splits.values()), audit)
    note = "splits as the split files list them" if files else "no split files"
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}, note


def _split_files(root: Path) -> dict[str, Path]:
    sets = _child(root, "imagesets")
    folders = [folder for folder in (_child(sets, "main") if sets else None, sets, root) if folder is not None]
    for folder in folders:
        files = {split: folder / f"{split}.txt" for split in ("train", "val", "test", "trainval")}
        if present := {split: file for split, file in files.items() if file.is_file()}:
            return present
    return {}


def _listed(
    file: Path, images: Mapping[str, Sequence[Path]], image_of: Callable[..., Path | None], audit: Audit
) -> list[Path]:
    stems = {path.name: stem for stem, there in images.items() for path in there}
    listed = []
    for number, line in enumerate(list_lines(file), start=1):
        if not (text := line.strip()):
            continue
        words = text.rsplit(maxsplit=1)
        if text not in images and len(words) == 2 and words[1] in ("-1", "0", "1"):
            text = words[0]  # VOC's lists of one class add whether the image shows it
        name = Path(text).name
        stem = stems.get(name, text if text in images else Path(text).stem)
        if stem not in images:
            message = f"no image {text:.200}; allowed: names of image files without their suffix"
            audit.problem(file, number, message, kind="missing_image")
        elif (image := image_of(stem, name)) is not None:
            listed.append(image)
    return listed


def _note_unlisted(root: Path, images: set[Path], audit: Audit) -> None:
    if images:
        shown = ", ".join(sorted(image.name for image in images)[:5]) + (", ..." if len(images) > 5 else "")
        audit.finding("unlisted", root, None, f"{len(images)} images are in no split and are not used: {shown}")
