"""A study as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from functools import singledispatch
from html import escape
from importlib import resources
from itertools import groupby
from math import isfinite
from pathlib import Path
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from sqlalchemy import Engine

from dashboards.blocks import Cell, Column, Disclosure, Empty, Prose, Table, Tiles, VerdictCounts
from dashboards.data.study import StudyView
from dashboards.data.study_loading import load
from dashboards.figures import theme
from dashboards.panels import STUDY
from dashboards.questions.panel import Block, Panel
from evolve import formatting

LONG_TABLE = 30


def write_report(engine: Engine, study_name: str, path: Path) -> Path:
    """Writes the report of a study and returns its path; a reader never sees half a file.

    Args:
        engine: A database with Optuna's tables and ours.
        study_name: As given to Optuna.
        path: File to write or replace; its folder is made if need be.

    Raises:
        StudyNotFoundError: There is no such study.
    """
    page = render(load(engine, study_name))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def render(view: StudyView) -> str:
    """The report as HTML."""
    templates = {"light": theme.template(is_dark=False), "dark": theme.template(is_dark=True)}
    return Template(_asset("report.html")).substitute(
        title=escape(view.facts.name),
        style=_asset("report.css"),
        theme=_asset("theme.js"),
        verdict_style=theme.verdict_css(),
        head=_head(view),
        links="".join(f'<a href="#{panel.key}">{escape(panel.title)}</a>' for panel in STUDY[1:]),
        sections="\n".join(_section(panel, view) for panel in STUDY),
        templates=_json(templates),
        on_dark=_json(theme.ON_DARK),
        plotly=get_plotlyjs(),
        script=_asset("report.js"),
    )


def _asset(name: str) -> str:
    return resources.files("dashboards").joinpath("assets", name).read_text(encoding="utf-8")


def _json(content: object) -> str:
    return _inside_script(json.dumps(content))


def _inside_script(text: str) -> str:
    # A script element ends at the first </script, wherever it stands; JSON may write < otherwise.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _head(view: StudyView) -> str:
    facts = view.facts
    last = max(
        (each for each in (*view.trials["started"], *view.trials["ended"]) if isfinite(each)), default=facts.created
    )
    parts = (facts.text("model"), facts.text("data"), f"as of {formatting.moment(last)}" if isfinite(last) else "")
    return f"<h1>{escape(facts.name)}</h1><p>{escape(' · '.join(part for part in parts if part))}</p>"


def _section(panel: Panel, view: StudyView) -> str:
    blocks = panel.draw(view)
    caption = f'<p class="caption">{escape(panel.caption)}</p>' if panel.caption else ""
    numbered = [(f"{panel.key}-{index}", block) for index, block in enumerate(blocks)]
    body = "".join(_group(list(members)) for _, members in groupby(numbered, key=lambda item: _layout(item[1])))
    return f'<section id="{panel.key}"><h2>{escape(panel.title)}</h2>{caption}{body}</section>'


def _layout(block: Block) -> str:
    if isinstance(block, go.Figure):
        return "figures"
    return "disclosures" if isinstance(block, Disclosure) else "blocks"


def _group(members: list[tuple[str, Block]]) -> str:
    html = "".join(_figure(key, block) if isinstance(block, go.Figure) else _html(block) for key, block in members)
    if _layout(members[0][1]) != "figures":
        return html
    # Three in a row at most, and no row with a single one where that can be had.
    columns = len(members) if len(members) < 3 else 2 if len(members) == 4 else 3
    return f'<div class="figures columns-{columns}">{html}</div>'


def _figure(key: str, figure: go.Figure) -> str:
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)  # the page's own, light or dark
    height = int(figure.layout.height)
    return (
        f'<figure id="figure-{key}" class="plot" style="height:{height}px">'
        f'<script type="application/json">{_json({"data": content["data"], "layout": content["layout"]})}</script>'
        "</figure>"
    )


@singledispatch
def _html(block: object) -> str:
    raise TypeError(f"report: no way to draw a {type(block).__name__}")


@_html.register
def _(block: Prose) -> str:
    return f"<p>{_text(block.text)}</p>"


@_html.register
def _(block: Empty) -> str:
    return f'<p class="empty">{_text(block.text)}</p>'


@_html.register
def _(block: Disclosure) -> str:
    return f"<details><summary>{escape(block.summary)}</summary><pre>{escape(block.text)}</pre></details>"


@_html.register
def _(block: Tiles) -> str:
    tiles = (
        f"<div><dt>{escape(tile.label)}</dt><dd>{escape(tile.value)}</dd><dd>{escape(tile.detail)}</dd></div>"
        for tile in block.tiles
    )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


@_html.register
def _(block: VerdictCounts) -> str:
    items = (f"<li>{_verdict(verdict)} <b>{count:,}</b></li>" for verdict, count in block.counts)
    return f'<ul class="verdicts">{"".join(items)}</ul>'


@_html.register
def _(block: Table) -> str:
    head = "".join(_heading(column, block.is_sortable) for column in block.columns)
    body = "\n".join(f"<tr>{_row(block.columns, row)}</tr>" for row in block.rows)
    classes = "scroll sortable" if block.is_sortable else "scroll"
    count = f'<p class="count">{formatting.counted(len(block.rows), "row")}</p>' if len(block.rows) > LONG_TABLE else ""
    return (
        f'{count}<div class="{classes}" tabindex="0"><table id="table-{escape(block.name)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _text(text: str) -> str:
    # Words in backticks are names of commands and keys.
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _heading(column: Column, is_sortable: bool) -> str:
    unit = f"<small>{escape(column.unit)}</small>" if column.unit else ""
    title = f"{escape(column.title)}{unit}"
    inner = f'<button type="button">{title}</button>' if is_sortable else title
    return f'<th scope="col" class="{column.kind}">{inner}</th>'


def _row(columns: Iterable[Column], row: Iterable[Cell]) -> str:
    return "".join(_cell(column, cell) for column, cell in zip(columns, row, strict=True))


def _cell(column: Column, cell: Cell) -> str:
    if column.kind == "verdict":
        return f"<td>{_verdict(str(cell))}</td>"
    if isinstance(cell, str):
        kind = f"{column.kind} long" if column.is_long else column.kind
        return f'<td class="{kind}" title="{escape(cell)}">{escape(cell)}</td>'
    if column.kind == "place":
        return f'<td class="place"><span style="--at: {float(cell):.3f}" title="{float(cell):.0%}"></span></td>'
    return f'<td class="number">{_number(column, float(cell))}</td>'


def _number(column: Column, value: float) -> str:
    if column.digits is None or not isfinite(value):
        return formatting.number(value)
    return f"{value:.{column.digits}f}"


def _verdict(verdict: str) -> str:
    known = verdict if verdict in theme.VERDICT_STYLES else "unjudged"
    return f'<span class="verdict verdict-{known}">{escape(verdict)}</span>'
