"""A diverged training that was trained again and looked into, as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite, nan
from pathlib import Path

from dashboards.blocks import Album, Cell, Column, Empty, Prose, Table
from dashboards.document import Section, document, write_document
from dashboards.figures.module_map import module_map, norm_at
from dashboards.questions.panel import Block
from dashboards.questions.pictures import photo
from detector.observations import ModuleTraced, StepTraced
from evolve.formatting import capitalised
from evolve.outcome.explanations import causes_of
from evolve.outcome.replayed import Replayed

_MODULES = (
    "Norm of what each module put out, of the gradient that came back to it and of that of its weights, in the last "
    "steps; modules in the order of the forward pass, the first at the top. A cross is no finite number; what is 0 is "
    "left blank."
)
# By a norm of `ModuleTraced`: title of its map, and of its table.
_NORMS = {
    "output_norm": ("norm of the output", "output"),
    "gradient_norm": ("norm of the gradient", "gradient"),
    "weight_gradient_norm": ("norm of the gradient of the weights", "weights"),
}
_BATCH = (
    "The images of the last step as the network saw them, with their labels; none of them need be to blame, but "
    "a label that cannot be learned is seen here. Numbers are shares of the square's side."
)


def write_replay_page(path: Path, found: Replayed) -> Path:
    """Writes the page and returns its path; a reader never sees half a file.

    Args:
        path: File to write or replace.
        found: The training that was trained again, and what that showed.
    """
    sections = (
        Section(key="happened", title="What happened", blocks=tuple(_happened(found))),
        Section(key="modules", title="Where did it break?", caption=_MODULES, blocks=tuple(_modules(found))),
        Section(key="steps", title="The last steps", blocks=(_steps(found),)),
        Section(key="batch", title="The last batch", caption=_BATCH, blocks=tuple(_batch(found))),
    )
    title = f"Replay of trial {found.trial} of {found.study}"
    details = (f"seed {found.seed}", f"step {found.end}", f"steps {found.from_step} to {found.until} trained again")
    return write_document(path, document(title, details, sections))


def _happened(found: Replayed) -> Iterator[Block]:
    yield _sentence(str(found.diagnosis.get("summary") or "it diverged"))
    yield Prose(f"The replay: {found.comparison.text}.")
    yield from map(_sentence, found.notes)
    broke = "All that the traced steps computed are numbers." if found.broken is None else found.broken.text
    yield Prose(broke if found.broken is None else f"First of all that is no number: {broke}.")
    for explanation in causes_of(found.diagnosis)[:1]:
        yield Prose(f"Most likely cause: {explanation.text}.")
        if explanation.remedies:
            yield Prose(f"What to change: {'; '.join(remedy.text for remedy in explanation.remedies)}.")
    if (survival := found.survival) is not None:
        changes = ", ".join(f"{name}={value}" for name, value in survival.changes.items())
        verb = "survives" if survival.survives else "does not survive"
        yield Prose(f"With {changes} it {verb}, {survival.how_far}: {survival.verdict}, {survival.reason}.")


def _sentence(text: str) -> Prose:
    return Prose(f"{capitalised(text).rstrip('.')}.")


def _modules(found: Replayed) -> Iterator[Block]:
    if not found.traced:
        yield Empty("No step was traced.")
        return
    for name, (title, _) in _NORMS.items():
        yield module_map(found.traced, name, title=title)
    for name, (_, title) in _NORMS.items():
        columns = (Column(title=f"module, {title}"), *_step_columns(found.traced))
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (module.name, *(_norm(step.modules, place, name) for step in found.traced))
            for place, module in enumerate(found.traced[-1].modules)
        )
        yield Table(name=f"modules-{title}", columns=columns, rows=rows, fold=f"{title}, in numbers")


def _step_columns(traced: tuple[StepTraced, ...]) -> Iterator[Column]:
    return (Column(title=f"step {step.step}", kind="number") for step in traced)


def _norm(modules: tuple[ModuleTraced, ...], place: int, name: str) -> float:
    value = norm_at(modules, place, name)
    return value if value is not None and isfinite(value) else nan


def _steps(found: Replayed) -> Table:
    names = ("loss", "grad_norm", "update_ratio", "max_box_logit", "lr", "bias_lr", "momentum")
    columns = (
        Column(title="step", kind="number", digits=0),
        *(Column(title=name.replace("_", " "), kind="number") for name in names),
    )
    rows = tuple((step.step, *(getattr(step, name) for name in names)) for step in found.steps)
    return Table(name="steps", columns=columns, rows=rows)


def _batch(found: Replayed) -> Iterator[Block]:
    if not found.traced:
        yield Empty("No step was traced.")
        return
    last = found.traced[-1]
    photos = tuple(photo(picture, partial(_name, found.names)) for picture in last.pictures)
    yield Album(name="batch", photos=photos, pages=(("", ((),) * len(photos)),))
    columns = (
        Column(title="picture", kind="number", digits=0),
        Column(title="image", is_long=True),
        Column(title="class"),
        *(Column(title=name, kind="number") for name in ("centre x", "centre y", "width", "height")),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (number, image, _name(found.names, int(klass)), *box)
        for number, (image, labels) in enumerate(zip(found.images, last.labels, strict=True), start=1)
        for klass, *box in labels
    )
    yield Table(name="labels", columns=columns, rows=rows)


def _name(names: tuple[str, ...], klass: int) -> str:
    return names[klass] if 0 <= klass < len(names) else f"class {klass}"
