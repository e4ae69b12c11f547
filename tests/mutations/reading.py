"""What a person reads in a file: its tokens, taken as plain decimals, beside what the readers understood.

Nothing here is shared with the readers. YAML is taken apart by PyYAML's BaseLoader, for which every scalar is text.
Each function returns the first difference in words, or nothing.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from math import isnan
from typing import Any
from xml.etree import ElementTree

import yaml

_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TRUTHS = {"true": True, "false": False}
_NOT_FINITE = {"nan", "+nan", "-nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"}


def plain(token: str) -> Any:
    """What a person takes a token for: a number, true or false, or the text itself."""
    token = token.strip()
    if token.lower() in _TRUTHS:
        return _TRUTHS[token.lower()]
    if re.fullmatch(r"0x[0-9a-fA-F]+|0o[0-7]+", token):
        return int(token, 0)
    return float(Decimal(token)) if _DECIMAL.fullmatch(token) else token


def differs(token: str, understood: object) -> bool:
    """Whether a token was understood as something else than a person reads."""
    if isinstance(understood, str):
        return token != understood
    read = plain(token)
    if isinstance(understood, bool) or isinstance(read, bool):
        return read is not understood
    if isinstance(read, str):
        return not (read.lower() in _NOT_FINITE and isinstance(understood, float) and not abs(understood) < 1e999)
    return read != understood or (understood == 0 and Decimal(token.strip() if "x" not in token else 1) != 0)


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig")


def of_nothing(data: bytes, understood: object) -> str:
    """For files in which nothing is a number."""
    return ""


def _compared(tokens: object, values: object, path: str = "") -> Iterator[str]:
    """Differences between a tree of tokens and the values of the same keys."""
    if isinstance(tokens, Mapping) and isinstance(values, Mapping):
        for key, token in tokens.items():
            if key in values:
                yield from _compared(token, values[key], f"{path}.{key}")
    elif isinstance(tokens, list) and isinstance(values, list | tuple):
        if len(tokens) != len(values):
            yield f"{path}: {len(values)} of {len(tokens)} items"
        for token, value in zip(tokens, values, strict=False):
            yield from _compared(token, value, path)
    elif isinstance(tokens, str) and not (value_is_default := tokens in ("", "~", "null", "Null", "NULL")):
        if isinstance(values, Mapping | list | tuple) or differs(tokens, values):
            yield f"{path}: {tokens[:60]!r} understood as {values!r:.60}"
    elif isinstance(tokens, str):
        assert value_is_default


def of_study(data: bytes, understood: Any) -> str:
    """A study: all keys that its file gives, but those left open."""
    file, study = understood
    tokens = yaml.load(_text(data), Loader=yaml.BaseLoader)
    values = study.to_mapping() | {"updates": file.updates}
    for key in file.open_keys:
        values.pop(key, None)
    return next(_compared(tokens, values), "")


def of_hyp(keys: Mapping[str, str]) -> Callable[[bytes, Any], str]:
    """A hyp file whose keys, by name, are some of ours."""

    def compared(data: bytes, understood: Any) -> str:
        values = getattr(understood, "values", understood)
        text = _text(data)
        tokens = _cfg(text) if "learning_rate" in keys else yaml.load(text, Loader=yaml.BaseLoader)
        skipped = {"lr0", "momentum"} if str(tokens.get("optimizer", "SGD")).lower() != "sgd" else set()
        ours = {key: getattr(values, name) for key, name in keys.items() if key not in skipped}
        return next(_compared(tokens, ours), "")

    return compared


def _cfg(text: str) -> dict[str, str]:
    section, found = "", {}
    for line in text.splitlines():
        line = re.split("[#;]", line)[0].strip()
        if line.startswith("["):
            section = line.lower()
        elif "=" in line and section in ("[net]", "[network]"):
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found


def of_data(data: bytes, understood: Any) -> str:
    """A data.yaml: its class names."""
    dataset, _ = understood
    names = yaml.load(_text(data), Loader=yaml.BaseLoader).get("names")
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=lambda key: int(key, 0))]
    if names and list(dataset.names) != names:
        return f"names {names!r:.60} understood as {dataset.names!r:.60}"
    return ""


def of_labels(data: bytes, understood: Any) -> str:
    """A label file: class and box of every line."""
    _, listing = understood
    (entry,) = [each for each in listing.entries["train"] if each.image.stem == "0"]
    lines = [line.split() for line in _text(data).splitlines() if line.strip()]
    if len(lines) != len(entry.objects):
        return f"{len(entry.objects)} objects in {len(lines)} lines"
    for words, labelled in zip(lines, entry.objects, strict=True):
        numbers = [plain(word) for word in words]
        if any(isinstance(each, str | bool) for each in numbers):
            return f"{words} understood as {labelled}"
        label, cx, cy, width, height = numbers
        box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        if label != labelled.label or box != labelled.box:
            return f"{words} understood as {labelled}"
    return ""


def of_annotation(data: bytes, understood: Any) -> str:
    """A VOC file: the corners of every object."""
    _, listing = understood
    (entry,) = [each for each in listing.entries["train"] if each.image.stem == "0"]
    first = 0.0 if listing.note.endswith("from 0") else 1.0
    top = ElementTree.fromstring(data)
    objects = top.findall("object")
    if len(objects) != len(entry.objects):
        return f"{len(entry.objects)} of {len(objects)} objects"
    for element, labelled in zip(objects, entry.objects, strict=True):
        tokens = [(element.findtext(f"bndbox/{name}") or "").strip() for name in ("xmin", "ymin", "xmax", "ymax")]
        corners = [plain(token) for token in tokens]
        if any(isinstance(each, str | bool) for each in corners):
            return f"{tokens} understood as {labelled.box}"
        x0, y0, x1, y1 = corners
        shifted = (x0 - first, y0 - first, x1, y1) if x1 > x0 and y1 > y0 else (x0, y0, x1, y1)
        if shifted != labelled.box or (element.findtext("name") or "").strip() != listing.names[labelled.label]:
            return f"{tokens} understood as {labelled.box}"
    return ""


def of_classes(data: bytes, understood: Any) -> str:
    """A classes.txt: its lines."""
    dataset, _ = understood
    names = [line.strip() for line in _text(data).splitlines() if line.strip()]
    return "" if list(dataset.names) == names else f"{names!r:.60} understood as {dataset.names!r:.60}"


def of_coco(data: bytes, understood: Any) -> str:
    """A file of COCO: box and class of every annotation that is no crowd, by image."""
    _, listing = understood
    top = json.loads(_text(data), parse_float=str, parse_int=str, parse_constant=str)
    names = {record["id"]: record["name"] for record in top["categories"]}
    for image in top["images"]:
        (entry,) = [each for each in listing.entries["train"] if each.image.name == image["file_name"]]
        alone = [each for each in top["annotations"] if plain(each.get("iscrowd", "0")) == 0]
        records = [each for each in alone if each["image_id"] == image["id"]]
        if len(records) != len(entry.objects):
            return f"{len(entry.objects)} objects of {len(records)} annotations"
        for record, labelled in zip(records, entry.objects, strict=True):
            x, y, width, height = (plain(token) for token in record["bbox"])
            if (x, y, x + width, y + height) != labelled.box:
                return f"{record['bbox']} understood as {labelled.box}"
            if names[record["category_id"]] != listing.names[labelled.label]:
                return f"category {record['category_id']} understood as {listing.names[labelled.label]}"
    return ""


def of_box_list(data: bytes, understood: Any) -> str:
    """A list of images with boxes: corners and class of every box, in order."""
    _, listing = understood
    words = [word for line in _text(data).splitlines() for word in line.split() if "," in word]
    objects = [labelled for entry in listing.entries["train"] for labelled in entry.objects]
    if len(words) != len(objects):
        return f"{len(objects)} objects of {len(words)} boxes"
    for word, labelled in zip(words, objects, strict=True):
        if tuple(map(plain, word.split(","))) != (*labelled.box, labelled.label):
            return f"{word} understood as {labelled}"
    return ""


_METRICS = {
    "precision": ("metrics/precision", "metrics/precision(B)"),
    "recall": ("metrics/recall", "metrics/recall(B)"),
    "map50": ("metrics/mAP_0.5", "metrics/mAP50(B)"),
    "map50_95": ("metrics/mAP_0.5:0.95", "metrics/mAP50-95(B)"),
}


def of_table(data: bytes, understood: Any) -> str:
    """A file of results with a header: metrics and fitness of every row."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(_text(data).splitlines(), quoting=csv.QUOTE_NONE)]
    header, *lines = [row for row in rows if any(row)]
    for cells, row in zip(lines, understood.rows, strict=True):
        found = dict(zip(header, cells, strict=True))
        for ours, names in _METRICS.items():
            for name in names:
                if name in found and (difference := _metric(found[name], row.metrics.get(ours))):
                    return f"{name}: {difference}"
        if "fitness" in found and (difference := _metric(found["fitness"], row.fitness)):
            return f"fitness: {difference}"
    return ""


def _metric(token: str, understood: Any) -> str:
    if understood is None or differs(token, understood) or not (isnan(understood) or 0 <= understood <= 1):
        return (
            "" if token.lower().strip("+-") in ("inf", "infinity") else f"{token[:60]!r} understood as {understood!r}"
        )
    return ""


def of_words(data: bytes, understood: Any) -> str:
    """A file of results without a header: precision, recall and mAP at 0.5 come first."""
    lines = [line.split() for line in _text(data).splitlines() if line.strip()]
    for words, row in zip(lines, understood.rows, strict=True):
        for token, ours in zip(words, ("precision", "recall", "map50"), strict=False):
            if difference := _metric(token, row.metrics[ours]):
                return f"{ours}: {difference}"
    return ""


def of_json(data: bytes, understood: Any) -> str:
    """A file of a JSON object a line: fitness."""
    lines = [line for line in _text(data).splitlines() if line.strip()]
    for line, row in zip(lines, understood.rows, strict=True):
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str).get("fitness")
        if found is not None and (difference := _metric(str(found), row.fitness)):
            return f"fitness: {difference}"
    return ""


def of_picture(data: bytes, understood: Any) -> str:
    """A picture: three channels, no larger than it was asked for."""
    shape, size = tuple(understood.image.shape), understood.size
    is_right = shape[0] == 3 and max(shape[1:]) == min(96, max(size)) and size[0] * size[1] <= 10**8
    return "" if is_right else f"{size} pixels became {shape}"


def is_decimal(token: str) -> bool:
    """Whether a token is a number to a person."""
    try:
        Decimal(token)
    except InvalidOperation:
        return False
    return _DECIMAL.fullmatch(token) is not None
