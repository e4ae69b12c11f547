"""The command that trains a diverged trial again and looks into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.commands.options import (
    DEFAULT_STORAGE,
    RUNS,
    DeviceOption,
    JsonOption,
    StorageOption,
    StudyName,
    at_least_one,
    whole,
)
from evolve.commands.output import chosen_study, opened_storage, say, say_next
from evolve.outcome.explanations import remedies_of

if TYPE_CHECKING:
    from evolve.outcome.replayed import Replayed, Survival


def replay(
    study: StudyName,
    trial: Annotated[int, typer.Argument(min=0, help="Number of a trial that diverged.", show_default=False)],
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of its training; else of the one that diverged.", parser=whole, metavar="<int>"),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--with", help="Then go on with another value, such as clip_norm=10; may be given again."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", help="Go on for at most so many; else to the end.", parser=at_least_one, metavar="<int>"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File of the page.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Train a diverged trial again up to its end, and see what broke first, in which layer, on which images.

    It goes on from the last checkpoint before the end, or from the seed: on the same machine bit for bit, and where it
    does not, that is said. Nothing is stored but the page.

    Example: `evolve replay lr_sweep 2`, `evolve replay lr_sweep 2 --with clip_norm=1 --with momentum=0.8`
    """
    from dashboards.replay_page import write_replay_page
    from evolve.run.changes import read_changes
    from evolve.run.detection import choose_device
    from evolve.run.replaying import replay as trained_again
    from evolve.run.replaying import survival

    wanted = read_changes(changes or ())
    device = choose_device(device)
    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        found = trained_again(opened, name, trial, runs=RUNS, seed=seed, device=device)
        if wanted.all:
            lived = survival(opened, name, trial, wanted, runs=RUNS, seed=found.seed, device=device, epochs=epochs)
            found = replace(found, survival=lived)
    page = write_replay_page(output or RUNS / name / "replays" / f"trial-{trial:04d}-seed-{found.seed}.html", found)
    say(found.as_json() | {"page": str(page)}, as_json=as_json, text=lambda: "\n".join(_lines(found, page)))
    say_next(_next(found), as_json=as_json, storage=storage)


def _lines(found: Replayed, page: Path) -> Iterator[str]:
    yield f"trial       {found.trial} of study {found.study}, seed {found.seed}: diverged at step {found.end}"
    yield f"replay      steps {found.from_step} to {found.until}: {found.comparison.text}"
    for note in found.notes:
        yield f"note        {note}"
    broken = "nothing: all that was computed are numbers" if found.broken is None else found.broken.text
    yield f"broke first {broken}"
    for file in dict.fromkeys(found.files):
        yield f"image       {''.join(letter if letter.isprintable() else '?' for letter in file)}"
    if found.places and not found.files:
        yield f"images      {', '.join(map(str, found.places))} of the images trained on, which are rendered"
    if found.survival is not None:
        yield _survival_line(found.survival)
    yield f"page        {page}"


def _survival_line(lived: Survival) -> str:
    changes = " ".join(f"{name}={value}" for name, value in lived.changes.items())
    verb = "survives" if lived.survives else "does not survive"
    return f"with        {changes} it {verb}, {lived.how_far} ({lived.verdict}: {lived.reason})"


def _next(found: Replayed) -> list[str]:
    """To try what the diagnosis asks for, or, once something survives, to apply remedies to the whole study."""
    remedies = remedies_of(found.diagnosis)
    if (found.survival is not None and found.survival.survives) or not remedies:
        return ["evolve", "cure", found.study]
    settings = [word for remedy in remedies for word in ("--with", remedy.setting)]
    return ["evolve", "replay", found.study, str(found.trial), *settings]
