"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detector.written_numbers import MAX_CHARACTERS, is_whole
from evolve.storage.typed import DEFAULT_STORAGE as DEFAULT_STORAGE


def whole(text: str) -> int:
    """The whole number that a text shows; Python's own reading takes `1_0` for ten, too.

    Raises:
        typer.BadParameter: It shows none.
    """
    if len(text) > MAX_CHARACTERS or not is_whole(text):
        raise typer.BadParameter(f"{text!r:.40} is not a whole number, such as 12")
    return int(text)


def at_least_one(text: str) -> int:
    """The whole number that a text shows, as `whole` reads it, which must be at least 1."""
    if (number := whole(text)) < 1:
        raise typer.BadParameter(f"{number} is not at least 1")
    return number


RUNS = Path("runs")

DATA_HELP = "digits-1, digits-3, digits-10, or a folder or file of YOLO, Pascal VOC, COCO, or lists with boxes."
STUDY_HELP = "A stored study: its name, what the name begins with, or latest."
StudyName = Annotated[str, typer.Argument(help=STUDY_HELP, show_default=False)]
StudyOption = Annotated[
    str,
    typer.Option("--study", "-s", help="A study's name (see `evolve studies`) or its YAML file.", show_default=False),
]
StorageOption = Annotated[str, typer.Option("--storage", envvar="EVOLVE_STORAGE", help="Any SQLAlchemy URL.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help=DATA_HELP),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="yolov3, yolov3-spp, yolov3-tiny, yolov3-tiny-3l (small boxes), or -compact ones."),
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", help="Epochs of every training.", parser=whole, metavar="<int>")
]
TrialsOption = Annotated[
    int | None, typer.Option("--trials", help="Trials in all, earlier ones included.", parser=whole, metavar="<int>")
]
UpdatesOption = Annotated[
    int | None,
    typer.Option(
        "--updates",
        help="Updates of the weights in every training, in place of --epochs.",
        parser=whole,
        metavar="<int>",
    ),
]
SecondsOption = Annotated[
    float | None, typer.Option("--seconds", help="Start no trial that would not be over within this time.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the stored study as it was defined; only the budget may grow.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and what it would cost.")]
NmsOption = Annotated[
    float | None,
    typer.Option(
        "--nms-iou", help="Overlap at which suppression joins boxes when metrics are measured.", show_default="0.45"
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", help="File of weights to start from: ours, or darknet's, whole or in part.")
]


def layers(text: str) -> int | str:
    """What is frozen, as a study says it: a word, or a number of layers."""
    return int(text) if is_whole(text) and len(text) <= MAX_CHARACTERS else text


FreezeOption = Annotated[
    str | None,
    typer.Option(
        "--freeze",
        help="What of them is not trained: none, backbone, or a number of leading layers.",
        show_default="none",
        parser=layers,
        metavar="<layers>",
    ),
]
SkipOption = Annotated[
    bool, typer.Option("--skip-unreadable", help="Go on without images that cannot be read; they are counted.")
]
InspectOption = Annotated[
    bool,
    typer.Option("--inspect", help="Record activations, weights and gradients by layer, for the page of each trial."),
]
CriticalOption = Annotated[
    bool,
    typer.Option(
        "--critical", help="Measure at a few steps how much larger an update could be before it raises the loss."
    ),
]
AcceptDataOption = Annotated[
    bool,
    typer.Option("--accept-changed-data", help="Go on although earlier trials were trained on other data; recorded."),
]
SizeOption = Annotated[
    int | None,
    typer.Option("--image-size", help="Side of the training images, a multiple of 32.", parser=whole, metavar="<int>"),
]
BatchOption = Annotated[
    int | None, typer.Option("--batch-size", "--batch", help="Images in a batch.", parser=whole, metavar="<int>")
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="Training seeds, such as 0,1,2.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Processes that train at once.", parser=at_least_one, metavar="<int>")
]
EngineOption = Annotated[
    str, typer.Option("--engine", help="Where trials train: auto, serial (this process), processes, or ray.")
]


def lanes(text: str) -> int | str:
    """Trials side by side: a whole number of at least 1, or auto."""
    return text if text == "auto" else at_least_one(text)


LanesOption = Annotated[
    str | None,
    typer.Option(
        "--lanes",
        help="Trials side by side in each process, or auto to measure what is fastest.",
        show_default="auto on a GPU, else 1",
        parser=lanes,
        metavar="<int>|auto",
    ),
]
AddressOption = Annotated[str, typer.Option("--address", help="A Ray cluster to train on, such as auto or HOST:PORT.")]
DIALECT_NAMES = "native, yolov3, yolov3-early, ultralytics or darknet"
ToOption = Annotated[str, typer.Option("--to", help=f"Trainer: {DIALECT_NAMES}.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help=f"Trainer that the file is of: {DIALECT_NAMES}; else told by its keys.")
]
ImagesOption = Annotated[
    int | None, typer.Option("--images", help="Number of training images.", parser=whole, metavar="<int>")
]
ClassesOption = Annotated[
    int | None, typer.Option("--classes", help="Number of classes.", parser=whole, metavar="<int>")
]
NominalOption = Annotated[
    int | None,
    typer.Option(
        "--nominal-batch-size", help="Images between two updates, where one can choose.", parser=whole, metavar="<int>"
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name to store it under.")]
