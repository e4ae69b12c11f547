"""A study as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import json
import os
from html import escape
from importlib import resources
from math import isfinite
from pathlib import Path
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from sqlalchemy import Engine

from dashboards.blocks import Table
from dashboards.data.study import StudyView
from dashboards.data.study_loading import load
from dashboards.figures import theme
from dashboards.panels import STUDY
from dashboards.questions.panel import Panel
from dashboards.rendering import Leaf, Node, panel_body, table_element
from evolve.formatting import counted, moment

LONG_TABLE = 30


def write_report(engine: Engine, study_name: str, path: Path) -> Path:
    """Writes the report of a study and returns its path; a reader never sees half a file.

    Args:
        engine: A database with Optuna's tables and ours.
        study_name: Name of the study, as it stands in Optuna's table.
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
        (seconds for seconds in (*view.trials["started"], *view.trials["ended"]) if isfinite(seconds)),
        default=facts.created,
    )
    parts = (facts.text("model"), facts.text("data"), f"as of {moment(last)}" if isfinite(last) else "")
    return f"<h1>{escape(facts.name)}</h1><p>{escape(' · '.join(part for part in parts if part))}</p>"


def _section(panel: Panel, view: StudyView) -> str:
    caption = f'<p class="caption">{escape(panel.caption)}</p>' if panel.caption else ""
    body = "".join(_html(node, panel.key) for node in panel_body(panel.draw(view)))
    return f'<section id="{panel.key}"><h2>{escape(panel.title)}</h2>{caption}{body}</section>'


def _html(node: Node, key: str) -> str:
    if isinstance(node, str):
        return escape(node)
    if isinstance(node, Leaf):
        return _table(node.block, key) if isinstance(node.block, Table) else _figure(f"{key}-{node.index}", node.block)
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in node.attributes.items())
    return f"<{node.tag}{attributes}>{''.join(_html(child, key) for child in node.children)}</{node.tag}>"


def _table(table: Table, key: str) -> str:
    count = f'<p class="count">{counted(len(table.rows), "row")}</p>' if len(table.rows) > LONG_TABLE else ""
    return count + _html(table_element(table), key)


def _figure(key: str, figure: go.Figure) -> str:
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)  # the page's own, light or dark
    height = int(figure.layout.height)
    return (
        f'<figure id="figure-{key}" class="plot" style="height:{height}px">'
        f'<script type="application/json">{_json({"data": content["data"], "layout": content["layout"]})}</script>'
        "</figure>"
    )
