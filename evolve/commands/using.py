"""Commands that use weights: find objects in pictures, measure how well that is done, write them for others."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.text_files import printable
from evolve.commands.options import DATA_HELP, DeviceOption, JsonOption, SkipOption
from evolve.commands.output import say, say_next, watched
from evolve.formatting import counted

if TYPE_CHECKING:
    from evolve.run.using import Detected, ImageResult
    from evolve.run.weight_files import Written

WeightsArgument = Annotated[
    Path, typer.Argument(help="File of weights that a training ended by naming.", show_default=False)
]
DetectNmsOption = Annotated[
    float | None,
    typer.Option(
        "--nms-iou", min=0, max=1, help="Overlap at which suppression joins boxes; else that of the training."
    ),
]


def detect(
    weights: WeightsArgument,
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders, and patterns in quotes.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pictures with boxes.")] = Path(
        "runs/detect"
    ),
    score: Annotated[float, typer.Option("--score", min=0, max=1, help="Least score of what is shown.")] = 0.25,
    nms_iou: DetectNmsOption = None,
    save_txt: Annotated[bool, typer.Option("--save-txt", help="Write YOLO label files, too, into labels/.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find objects in pictures, and write the pictures with boxes drawn on.

    Images that cannot be read are named and passed over; the exit status is 1 then.

    Example: `evolve detect runs/my_data-photos/weights/seed-0-best.pt photos/images`
    """
    from evolve.run.detection import choose_device
    from evolve.run.using import Detected, ImageResult, Unreadable, Wanted, detect_images, find_images, opened_detector

    files = find_images(images)
    wanted = Wanted(output=output, score=score, nms_iou=nms_iou, saves_txt=save_txt)
    found = detect_images(opened_detector(weights, choose_device(device)), files, wanted)
    results = []
    for result in watched(found, "images", len(files)):
        results.append(result)
        if isinstance(result, Unreadable):
            typer.echo(f"passed over  {printable(result.image)}: {printable(result.reason)}", err=True)
    done = Detected(
        weights=str(weights),
        output=str(output),
        images=tuple(result for result in results if isinstance(result, ImageResult)),
        unreadable=tuple(result for result in results if isinstance(result, Unreadable)),
    )
    say(done.as_mapping(), as_json=as_json, text=lambda: _detected_text(done))
    say_next(shlex.join(["evolve", "val", str(weights), "--data", "DATA"]), as_json=as_json)
    raise typer.Exit(1 if done.unreadable else 0)


def val(
    weights: WeightsArgument,
    data: Annotated[
        str,
        typer.Option("--data", help=DATA_HELP, show_default=False),
    ],
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "val",
    nms_iou: DetectNmsOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with curves, too.", show_default=False)
    ] = None,
    skip_unreadable: SkipOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure weights on labelled images: scores by class and size, confusion, and the best score to show boxes from.

    Example: `evolve val runs/my_data-photos/weights/seed-0-best.pt --data photos`
    """
    from evolve.commands.validation_text import validation_text
    from evolve.run.detection import choose_device
    from evolve.run.using import opened_detector
    from evolve.run.validating import Validating

    detector = opened_detector(weights, choose_device(device))
    validating = Validating(detector, data, split=split, nms_iou=nms_iou, skip_unreadable=skip_unreadable)
    done = validating.result(weights, watched(validating.batches(), "batches", validating.num_batches))
    say(done.as_mapping(), as_json=as_json, text=lambda: validation_text(done))
    if html is not None:
        from dashboards.validation_page import write_validation

        typer.echo(f"page  {printable(str(write_validation(done, html)))}", err=as_json)
    best = done.found.best
    point = ["--score", f"{best.score:g}", "--nms-iou", f"{best.nms_iou:g}"]
    say_next(shlex.join(["evolve", "detect", str(weights), "IMAGES", *point]), as_json=as_json)


def weights(
    weights: WeightsArgument,
    to: Annotated[str, typer.Option("--to", help="Format: darknet, onnx or torchscript.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; else beside the weights, under their name.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write weights for another program: darknet's .weights with their .cfg, ONNX or TorchScript.

    Example: `evolve weights runs/my_data-photos/weights/seed-0-best.pt --to darknet -o best.weights`
    """
    from evolve.run.using import opened_detector
    from evolve.run.weight_files import write_as

    written = write_as(opened_detector(weights, "cpu"), to, output, weights=weights)
    say(written.as_mapping(), as_json=as_json, text=lambda: "\n".join(_written_lines(written)))
    trains = ["train", "--hyp", "HYP", "--weights", next(iter(written.files))]
    words = trains if to == "darknet" else ["val", str(weights), "--data", "DATA"]
    say_next(shlex.join(["evolve", *words]), as_json=as_json)


def _written_lines(written: Written) -> Iterator[str]:
    for file, size in written.files.items():
        yield f"file    {printable(file)}  ({size:,} bytes)"
    for note in written.notes:
        yield f"note    {note}"


def _detected_text(done: Detected) -> str:
    """A line an image, then where the pictures are."""
    width = min(max((len(image.image) for image in done.images), default=0), 60)
    lines = [f"{printable(image.image):<{width}}  {_found_text(image)}" for image in done.images]
    objects = ", ".join(f"{count:,} {printable(name)}" for name, count in done.counts().items()) or "nothing found"
    passed = f"; {len(done.unreadable)} not readable" if done.unreadable else ""
    lines.append(f"pictures  {printable(done.output)}  ({counted(len(done.images), 'image')}: {objects}{passed})")
    return "\n".join(lines)


def _found_text(image: ImageResult) -> str:
    counts = Counter(box.name for box in image.boxes)
    best = f", best score {image.boxes[0].score:.2f}" if image.boxes else ""
    return (", ".join(f"{count} {printable(name)}" for name, count in counts.items()) or "nothing") + best
