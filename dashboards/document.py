"""Titled sections of blocks as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dashboards.blocks import Album, Empty, Table
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from dashboards.rendering import Leaf, Node, album_element, element, panel_body, table_element, text_nodes
from evolve.formatting import counted

LONG_TABLE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page.

    Attributes:
        key: Name of the section, unique on the page, and its anchor.
        title: Heading of the section, also in the list of sections.
        caption: How to read the section; empty where nothing need be said.
        blocks: What the section shows, top to bottom.
    """

    key: str
    title: str
    caption: str = ""
    blocks: tuple[Block, ...]


def sections_of(panels: Iterable[Panel], about: object) -> list[Section]:
    """What panels show of a study, a trial, or whatever they are about; optional ones where they show anything."""
    drawn = [(panel, panel.draw(about)) for panel in panels]
    return [
        Section(key=panel.key, title=panel.title, caption=panel.caption, blocks=blocks)
        for panel, blocks in drawn
        if not (panel.is_optional and all(isinstance(block, Empty) for block in blocks))
    ]


def document(title: str, details: Iterable[str], sections: Sequence[Section]) -> str:
    """A page as HTML.

    Args:
        title: Title of the page.
        details: What stands beneath the title, on one line; empty ones are left out.
        sections: Sections of the page, top to bottom; all but the first are linked to at the top.
    """
    templates = {"light": theme.template(is_dark=False), "dark": theme.template(is_dark=True)}
    line = " · ".join(detail for detail in details if detail)
    return Template(_asset("report.html")).substitute(
        title=escape(title),
        style=_asset("report.css"),
        theme=_asset("theme.js"),
        verdict_style=theme.verdict_css(),
        head=f"<h1>{escape(title).replace('_', '_<wbr>')}</h1><p>{escape(line)}</p>",
        links="".join(f'<a href="#{section.key}">{escape(section.title)}</a>' for section in sections[1:]),
        sections="\n".join(map(_section, sections)),
        templates=_json(templates),
        on_dark=_json(theme.ON_DARK),
        plotly=get_plotlyjs(),
        script=_asset("report.js"),
    )


def write_document(path: Path, page: str) -> Path:
    """Writes a page and returns its path; a reader never sees half a file.

    Args:
        path: File to write or replace; its folder is made if need be.
        page: Whole content of the file, as HTML.

    Raises:
        OSError: The file cannot be written; the text names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(page, encoding="utf-8", errors="replace")  # names of files need be no text
        draft.replace(path)
    except OSError as error:
        if error.errno is not None:  # one that carries a text alone would lose it
            error.filename = error.filename or str(path)  # a full disk does not say which file it has no room for
        raise
    finally:
        draft.unlink(missing_ok=True)
    return path


def _asset(name: str) -> str:
    return resources.files("dashboards").joinpath("assets", name).read_text(encoding="utf-8")


def _json(content: object) -> str:
    return _inside_script(json.dumps(content))


def _inside_script(text: str) -> str:
    # A script element ends at the first </script, wherever it stands; JSON may write < otherwise.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _section(section: Section) -> str:
    caption = [element("p", *text_nodes(section.caption), class_="caption")] if section.caption else []
    body = "".join(_html(node, section.key) for node in (*caption, *panel_body(section.blocks)))
    return f'<section id="{section.key}"><h2>{escape(section.title)}</h2>{body}</section>'


def _html(node: Node, key: str) -> str:
    if isinstance(node, str):
        return escape(node)
    if isinstance(node, Leaf) and isinstance(node.block, Album):
        return _html(album_element(node.block), key)
    if isinstance(node, Leaf):
        return _table(node.block, key) if isinstance(node.block, Table) else _figure(f"{key}-{node.index}", node.block)
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in node.attributes.items())
    if node.tag == "img":  # which has no end
        return f"<img{attributes}>"
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
