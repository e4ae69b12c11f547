"""The command that writes a data set in another format."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.commands.options import DATA_HELP, JsonOption, SkipOption
from evolve.commands.output import say, say_next, watched
from evolve.formatting import counted

if TYPE_CHECKING:
    from evolve.run.converting import Converted


def convert(
    data: Annotated[str, typer.Argument(help=DATA_HELP, show_default=False)],
    out: Annotated[Path, typer.Argument(help="The new folder; it may be there if it is empty.", show_default=False)],
    format_name: Annotated[str, typer.Option("--format", help="yolo, voc, coco or listing.", show_default=False)],
    skip_unreadable: SkipOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a data set to a new folder in another format, its splits as they are; images are copied.

    Everything is checked before, as for a training, and a conversion that fails leaves nothing behind.

    Example: `evolve convert photos photos-coco --format coco`
    """
    from evolve.run.converting import convert_data

    done = convert_data(data, out, format_name=format_name, skip_unreadable=skip_unreadable, watch=watched)
    say(done.as_mapping(), as_json=as_json, text=lambda: _converted_text(done))
    say_next(shlex.join(["evolve", "run", "--study", "my_data", "--data", done.folder]), as_json=as_json)


def _converted_text(done: Converted) -> str:
    lines = [f"data    {done.data}: {done.note}"]
    lines += [
        f"{split:<7} {counted(found['images'], 'image')}, {counted(found['boxes'], 'box', 'boxes')}"
        for split, found in done.splits.items()
    ]
    if done.findings:
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in done.findings.items())
        lines.append(f"found   {kinds}")
    if done.moved:
        boxes = counted(done.moved, "box was", "boxes were")
        lines.append(f"note    {boxes} moved by more than half a pixel: {done.format} cannot hold smaller ones")
    return "\n".join([*lines, f"written {done.folder} ({done.format})"])
