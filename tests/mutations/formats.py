"""The file formats that are read: a valid file of each, its reader, and what a person reads in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from detector.datasets import DataError, open_dataset
from detector.datasets.audit import Audit
from detector.datasets.box_lists import box_lists, read_box_lists
from detector.datasets.coco import coco_files, read_coco
from detector.datasets.pictures import read_picture
from detector.datasets.voc import read_voc
from detector.datasets.yolo import read_yolo
from detector.hyperparameters import Hyperparameters
from detector.models import build_network, rows_of
from detector.models.darknet_files import WeightsError, cfg_text, read_cfg_heads, read_weights, weights_bytes
from evolve.errors import EvolveError
from evolve.exchange.conversion import explain_hyp, import_hyp, read_text
from evolve.exchange.dialects import Context, darknet, early, from_dialect, native, to_dialect, ultralytics, yolov3
from evolve.exchange.result_files import read_results
from evolve.exchange.results import Origin, import_results
from evolve.storage.database import Storage
from evolve.study.file import read_study
from evolve.study.hyp import read_hyp
from tests.mutations import reading

WEIGHTS_OF = "yolov3-tiny-compact"
MAX_STORED = 50  # trainings: each takes milliseconds to store, which is not what is looked at here
STUDY = b"""\
name: mine
description: what varies, and why
data: digits-1
model: yolov3-tiny-compact
image_size: 64
batch_size: 16
epochs: 10
nms_iou: 0.45
seeds: [0, 1]
seed: 7
sampler: tpe
pruner: median
baseline: true
hyperparameters: {momentum: 0.9, nesterov: false}
space:
  lr0: {low: 0.001, high: 1.0e-1, log: true}
  box: {low: 0.1, high: 1, points: 4}
  fliplr: {choices: [0, 0.5]}
budget:
  trials: 20
  seconds: 540
fitness: {map50: 0.1, map50_95: 0.9}
thresholds: {floor: 0.05}
"""
GRID = b"""\
space: {lr0: {low: 0.001, high: 1, log: true, points: 8}, momentum: {low: 0, high: 0.9, step: 0.1}}
sampler: grid
budget: {trials: 50}
updates: 300
model: auto
"""
DATA = b"""\
path: .
train: images/train
val: [images/val]
nc: 3
names:
  0: cat
  1: no
  2: dog
"""
NAMES = b"train: train.txt\nval: images/val\nnames: [yes, no, '1e3']\n"
LABELS = b"0 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.125 0.5\n2 0.75 0.5 0.3 0.3\n"
XML = b"""\
<?xml version="1.0"?>
<annotation>
<filename>0.png</filename>
<size><width>40</width><height>20</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12.5</xmax><ymax>15</ymax></bndbox></object>
<object><name>dog</name>
<bndbox><xmin>20</xmin><ymin>5</ymin><xmax>39</xmax><ymax>19</ymax></bndbox></object>
</annotation>
"""
COCO = b"""\
{"info": {"year": 2026, "description": "a few"}, "images": [
{"id": 7, "file_name": "0.png", "width": 40, "height": 20, "license": null}, {"id": 8, "file_name": "1.png"}],
"annotations": [
{"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 3.5, 10.25, 12], "area": 123.0, "iscrowd": 0,
"segmentation": [[2, 3, 4, 5, 6, 7]]},
{"id": 2, "image_id": 8, "category_id": 1, "bbox": [20, 5, 1.5e1, 9], "iscrowd": 0},
{"id": 4, "image_id": 7, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 1}],
"categories": [{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 1, "name": "dog"}]}
"""
BOX_LIST = b"images/0.png 2,3,12,15,0 20,5,39,19,1\nimages/1.png 1,1,30,18.5,1\n"
_RESULTS = (
    "metrics/precision,metrics/recall,metrics/mAP_0.5,metrics/mAP_0.5:0.95,val/box_loss,val/obj_loss,val/cls_loss"
)
EVOLVE_CSV = "\n".join(
    [
        f"{_RESULTS},{','.join(yolov3.DEFAULTS)}",
        f"0.6,0.5,0.7,0.4,0.05,0.02,0.01,{','.join(yolov3.DEFAULTS.values())}",
        f"0.7,0.6,0.8,0.5,0.05,0.02,0.01,0.02,{','.join(list(yolov3.DEFAULTS.values())[1:])}",
        "",
    ]
).encode()
EVOLVE_TXT = b"".join(
    b" ".join(each.encode() for each in (*start, *yolov3.DEFAULTS.values())) + b"\n"
    for start in (("0.6", "0.5", "0.7", "0.4", "0.05", "0.02", "0.01"), ("0.5", "0.4", "0.6", "0.3", "1", "1", "nan"))
)
TUNE_CSV = (
    f"fitness,{','.join(ultralytics.DEFAULTS)}\n0.43,{','.join(ultralytics.DEFAULTS.values())}\n"
    f"0.5,0.02,{','.join(list(ultralytics.DEFAULTS.values())[1:])}\n"
).encode()
TUNE_NDJSON = b"""\
{"iteration": 1, "fitness": 0.43, "hyperparameters": {"lr0": 0.01, "lrf": 0.01, "momentum": 0.937}, "datasets": \
{"coco8": {"metrics/precision(B)": 0.6, "metrics/recall(B)": 0.5, "metrics/mAP50(B)": 0.7, "metrics/mAP50-95(B)": 0.4}}}
{"iteration": 2, "fitness": NaN, "hyperparameters": {"lr0": 0.1, "lrf": 0.01, "momentum": 0.937}, "datasets": {}}
"""
RESULTS_CSV = (
    f"epoch,train/box_loss,train/obj_loss,train/cls_loss,{_RESULTS},x/lr0,x/lr1,x/lr2\n"
    "0,0.05,0.02,0.01,0.3,0.2,0.3,0.1,0.05,0.02,0.01,0.003,0.003,0.07\n"
    "1,0.04,0.02,0.01,0.6,0.5,0.7,0.4,0.05,0.02,0.01,0.003,0.003,0.07\n"
).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of file.

    Attributes:
        name: For the table.
        file: Path of the file within the folder that `prepare` fills.
        kind: What structure it has, for the mutations.
        seeds: Valid files.
        prepare: Writes everything else into a folder.
        read: Reads the folder and returns what was understood.
        misread: What was understood otherwise than a person would read the bytes; empty where nothing was.
        errors: What a refusal is.
    """

    name: str
    file: str
    kind: str
    seeds: tuple[bytes, ...]
    prepare: Callable[[Path], None]
    read: Callable[[Path], object]
    misread: Callable[[bytes, object], str]
    errors: tuple[type[Exception], ...]


def _nothing(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _picture(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def yolo_folder(folder: Path) -> None:
    for number, part in enumerate(("train", "train", "val")):
        _picture(folder / f"images/{part}/{number}.png", number)
        label = folder / f"labels/{part}/{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(LABELS)
    (folder / "train.txt").write_bytes(b"images/train/0.png\nimages/train/1.png\n")
    (folder / "data.yaml").write_bytes(DATA)


def listed_folder(folder: Path) -> None:
    yolo_folder(folder)
    (folder / "data.yaml").write_bytes(NAMES)


def voc_folder(folder: Path) -> None:
    for number in range(3):
        _picture(folder / f"JPEGImages/{number}.png", number)
        file = folder / f"Annotations/{number}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(XML)
    (folder / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets/Main/train.txt").write_bytes(b"0\n1\n")
    (folder / "ImageSets/Main/val.txt").write_bytes(b"2\n")
    (folder / "classes.txt").write_bytes(b"cat\ndog\n")


def coco_folder(folder: Path) -> None:
    for number in range(3):
        _picture(folder / f"{'val' if number == 2 else 'train'}/{number}.png", number)
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations/instances_train.json").write_bytes(COCO)
    (folder / "annotations/instances_val.json").write_bytes(
        COCO.replace(b"0.png", b"2.png").replace(b"1.png", b"2.png")
    )


def box_list_folder(folder: Path) -> None:
    for number in range(3):
        _picture(folder / f"images/{number}.png", number)
    (folder / "train.txt").write_bytes(BOX_LIST)
    (folder / "val.txt").write_bytes(b"images/2.png 2,3,12,15,0\n")
    (folder / "classes.txt").write_bytes(b"cat\ndog\n")


def _study(folder: Path) -> object:
    file = read_study(str(folder / "study.yaml"))
    return file, file.preview()


def _native(folder: Path) -> object:
    read = read_hyp(folder / "hyp.yaml")
    import_hyp(folder / "hyp.yaml", native.NAME, folder / "out.yaml", {})
    return read


def _theirs(dialect: str, name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        path = folder / name
        import_hyp(path, dialect, folder / "out.yaml", {})
        explain_hyp(path, dialect, dialect, {})
        return from_dialect(dialect, read_text(path), Context(), origin=str(path)).values

    return read


def _dataset(folder: Path) -> object:
    dataset = open_dataset(str(folder), image_size=64)
    return dataset, _listing(folder)


def _listing(folder: Path) -> object:
    if (folder / "data.yaml").exists():
        return read_yolo(folder / "data.yaml", Audit())
    if (folder / "Annotations").exists():
        return read_voc(folder, Audit())
    if (files := coco_files(folder)) is not None:
        return read_coco(files, folder, Audit())
    return read_box_lists(box_lists(folder) or {}, folder, Audit())


@cache
def _storage(folder: Path) -> Storage:
    return Storage(f"sqlite:///{folder}/evolve.db")  # made once: its tables take longer than many imports


def _results(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        path = folder / name
        results = read_results(read_text(path), origin=str(path))
        if len(results.rows) > MAX_STORED:
            return results
        storage = _storage(folder)
        import_results(storage, results, Context(), name=f"s{len(storage.study_names())}", origin=Origin(path=path))
        return results

    return read


def _beside(folder: Path) -> None:
    _nothing(folder)
    (folder / "results.csv").write_bytes(RESULTS_CSV)


def _exported(dialect: str) -> bytes:
    values = Hyperparameters(schedule="steps" if dialect == darknet.NAME else "linear", lrf=0.1)
    return to_dialect(dialect, values, Context()).text(("A head.",)).encode()


def _image_bytes(kind: str, *, exif: bool = False, frames: int = 1, **options: object) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((64, 48))
    if exif:
        block = Image.Exif()
        block[0x0112], block[0x010F], block[0x8298] = 6, "maker", "nobody"
        block.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
        options["exif"] = block
    if frames > 1:
        options |= {"save_all": True, "append_images": [image.rotate(90 * n) for n in range(1, frames)]}
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _read_image(name: str) -> Callable[[Path], object]:
    return lambda folder: read_picture(folder / name, longest=96)


def _image(name: str, file: str, kind: str, *seeds: bytes) -> Format:
    return Format(
        name=name,
        file=file,
        kind=kind,
        seeds=seeds,
        prepare=_nothing,
        read=_read_image(file),
        misread=reading.of_picture,
        errors=(DataError,),
    )


def _hyp(name: str, file: str, kind: str, *seeds: bytes, keys: dict[str, str]) -> Format:
    read = _native if name == native.NAME else _theirs(name, file)
    misread = reading.of_hyp(keys)
    errors = (EvolveError,)
    return Format(
        name=f"hyp of {name}",
        file=file,
        kind=kind,
        seeds=seeds,
        prepare=_nothing,
        read=read,
        misread=misread,
        errors=errors,
    )


def _table(file: str, kind: str, seed: bytes, misread: Callable[[bytes, object], str]) -> Format:
    read, errors = _results(file), (EvolveError,)
    return Format(
        name=file, file=file, kind=kind, seeds=(seed,), prepare=_nothing, read=read, misread=misread, errors=errors
    )


_FOLDERS = {
    "YOLO list": listed_folder,
    "YOLO": yolo_folder,
    "VOC": voc_folder,
    "COCO": coco_folder,
    "boxes": box_list_folder,
}


def _files(name: str, file: str, kind: str, *seeds: bytes, misread: Callable[[bytes, object], str]) -> Format:
    prepare = next(folder for start, folder in _FOLDERS.items() if name.startswith(start))
    errors = (DataError,)
    return Format(
        name=name, file=file, kind=kind, seeds=seeds, prepare=prepare, read=_dataset, misread=misread, errors=errors
    )


def _run(file: str, dialect: str, keys: dict[str, str]) -> Format:
    return Format(
        name=f"{file} beside results.csv",
        file=file,
        kind="yaml",
        seeds=(_exported(dialect),),
        prepare=_beside,
        read=_results("results.csv"),
        misread=reading.of_nothing,
        errors=(EvolveError,),
    )


_SAME = {name: name for name in yolov3.TABLE.same}
_PACKAGE = {name: name for name in yolov3.TABLE.same if name in ultralytics.DEFAULTS}
_EARLY = {"lr0": "lr0", "momentum": "momentum", "weight_decay": "weight_decay"}
_CFG = {"learning_rate": "lr0", "momentum": "momentum", "decay": "weight_decay"}
_OURS = {name: name for name in Hyperparameters.__dataclass_fields__}


def formats() -> tuple[Format, ...]:
    """All of them."""
    study = Format(
        name="study",
        file="study.yaml",
        kind="yaml",
        seeds=(STUDY, GRID),
        prepare=_nothing,
        read=_study,
        misread=reading.of_study,
        errors=(EvolveError,),
    )
    return (
        study,
        _hyp(
            native.NAME, "hyp.yaml", "yaml", _exported(native.NAME), b"lr0: 1e-3\nnesterov: false\nbox: 2\n", keys=_OURS
        ),
        _hyp(yolov3.NAME, "hyp.yaml", "yaml", _exported(yolov3.NAME), keys=_SAME),
        _hyp(early.NAME, "hyp.yaml", "yaml", _exported(early.NAME), keys=_EARLY),
        _hyp(ultralytics.NAME, "args.yaml", "yaml", _exported(ultralytics.NAME), keys=_PACKAGE),
        _hyp(darknet.NAME, "net.cfg", "text", _exported(darknet.NAME), keys=_CFG),
        _run("hyp.yaml", yolov3.NAME, _SAME),
        _run("args.yaml", ultralytics.NAME, _PACKAGE),
        _table("evolve.csv", "csv", EVOLVE_CSV, reading.of_table),
        _table("evolve.txt", "text", EVOLVE_TXT, reading.of_words),
        _table("tune_results.csv", "csv", TUNE_CSV, reading.of_table),
        _table("tune_results.ndjson", "json", TUNE_NDJSON, reading.of_json),
        _table("results.csv", "csv", RESULTS_CSV, reading.of_table),
        _files("YOLO data.yaml", "data.yaml", "yaml", DATA, NAMES, misread=reading.of_data),
        _files("YOLO labels", "labels/train/0.txt", "text", LABELS, misread=reading.of_labels),
        _files(
            "YOLO list of images",
            "train.txt",
            "text",
            b"images/train/0.png\n./images/train/1.png\n",
            misread=reading.of_nothing,
        ),
        _files("VOC annotation", "Annotations/0.xml", "xml", XML, misread=reading.of_annotation),
        _files("VOC ImageSets", "ImageSets/Main/train.txt", "text", b"0\n1 1\n", misread=reading.of_nothing),
        _files("VOC classes.txt", "classes.txt", "text", b"cat\ndog\nno\n", misread=reading.of_classes),
        _darknet("a.weights", "image", _weights(), lambda path: read_weights(path, WEIGHTS_OF, num_classes=1).num_rows),
        _darknet("a.cfg", "text", _cfg(), read_cfg_heads),
        _files("COCO annotations", "annotations/instances_train.json", "json", COCO, misread=reading.of_coco),
        _files("boxes of a list", "train.txt", "text", BOX_LIST, misread=reading.of_box_list),
        _files("boxes' classes.txt", "classes.txt", "text", b"cat\ndog\nno\n", misread=reading.of_classes),
        _image("JPEG", "a.jpg", "jpeg", _image_bytes("JPEG"), _image_bytes("JPEG", progressive=True)),
        _image("JPEG with EXIF", "a.jpg", "jpeg", _image_bytes("JPEG", exif=True)),
        _image("PNG", "a.png", "png", _image_bytes("PNG"), _image_bytes("PNG", exif=True)),
        _image("TIFF", "a.tif", "tiff", _image_bytes("TIFF"), _image_bytes("TIFF", compression="tiff_lzw", frames=2)),
        _image("GIF, BMP, WebP", "a.gif", "image", *_moving()),
    )


def _darknet(file: str, kind: str, seed: bytes, read: Callable[[Path], object]) -> Format:
    return Format(
        name=f"darknet's {file}",
        file=file,
        kind=kind,
        seeds=(seed,),
        prepare=_nothing,
        read=lambda folder: read(folder / file),
        misread=reading.of_nothing,  # no value has a second place that says what it should be
        errors=(WeightsError,),
    )


def _weights() -> bytes:
    state = build_network(WEIGHTS_OF, num_classes=1).state_dict()
    drawn = {name: torch.full_like(value, 0.5) for name, value in state.items()}
    return b"".join(weights_bytes(rows_of(WEIGHTS_OF, 1), drawn, images_seen=7))


def _cfg() -> bytes:
    return cfg_text(rows_of(WEIGHTS_OF, 1), [[(0.5, 0.25)] * 3] * 2, image_size=64, coding="bounded").encode()


def _moving() -> tuple[bytes, ...]:
    return tuple(
        _image_bytes(kind, frames=frames) for kind, frames in (("GIF", 1), ("GIF", 3), ("BMP", 1), ("WEBP", 2))
    )
