"""Studies that pages are tried with, and what is looked for in what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from plotly.io.json import to_json_plotly
from sqlalchemy import update

from dashboards.data.reader import Reader
from dashboards.live.callbacks import panel_content
from dashboards.live.context import PanelContext
from dashboards.panels import PAGES
from dashboards.state import PageState

HOSTILE = '<img src=x onerror="alert(1)"> ../%2e%2e/ {{7*7}} ${1} \u202e "quoted" & more'
Kind = TypeVar("Kind")
NAME = "digits-lr"
TOKEN = "correct-horse-battery"
OUTCOMES = ("converged", "diverged", "pruned", "failed", "running", "undertrained", "waiting")


def states(reader: Reader) -> list[PageState]:
    """Every page of every study."""
    pages = [PageState()]
    for name in reader.study_names():
        pages += [
            PageState(page="/study", study=name),
            PageState(page="/trial", study=name, number=1),
            PageState(page="/compare", compared=((name, 0), (name, None))),
        ]
    return pages


def found(content: Any, attribute: str) -> Any:
    """The first component that has an attribute."""
    return next(each for each in walk(content) if hasattr(each, attribute))


def walk(content: Any) -> Iterator[Any]:
    """Every component inside a list of them."""
    for each in content if isinstance(content, list) else [content]:
        yield each
        if getattr(each, "children", None) is not None:
            yield from walk(each.children)


def sent_as_list(reader: Reader, state: PageState) -> str:
    contents = [panel_content(reader, PanelContext(state=state, panel=panel.key)) for panel in PAGES[state.page]]
    return str(to_json_plotly(contents))


def figures_of(content: Any) -> list[Any]:
    """All figures in what is sent."""
    if isinstance(content, dict):
        own = [content["figure"]] if "figure" in content else []
        return own + [found for each in content.values() for found in figures_of(each)]
    return [found for each in content for found in figures_of(each)] if isinstance(content, list) else []


MIXED = ("converged", "undertrained", "diverged", "pruned", "failed", "running", "waiting", "diverged", "converged")


def change(engine, table, condition, **values):
    with engine.begin() as connection:
        changed = connection.execute(update(table).where(condition).values(**values)).rowcount
    assert changed


def of_kind(blocks: Any, kind: type[Kind]) -> list[Kind]:
    """The blocks of one kind, in their order."""
    return [block for block in blocks if isinstance(block, kind)]
