"""All hyperparameters for people: as a table on the terminal, and as the page of the documentation."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import Any

from detector.declaration import DATA_FACTS, OR, Declaration
from detector.hyperparameters import declarations

_HEAD = """# Hyperparameters

Everything a study may fix or search over, by the name that study and hyp files use. This page is
`evolve hyp --markdown`, made from the declarations in `detector/families/`.
"""


def as_json() -> dict[str, Any]:
    """What is declared of each hyperparameter, by name."""
    return {name: asdict(known) | {"allowed": known.allowed} for name, known in declarations().items()}


def as_text() -> str:
    """A line for each hyperparameter: name, default, range or choices, unit and meaning; then how many there are."""
    rows = [(name, _default(known), f"{known.allowed} {known.unit}".strip()) for name, known in declarations().items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row, known in zip(rows, declarations().values(), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([*cells, known.meaning]))
    return "\n".join([*lines, "", count_text()])


def count_text() -> str:
    """How many hyperparameters there are, and of how many choices in how many families some are chosen."""
    families = [known.choices for known in declarations().values() if isinstance(known.default, str)]
    return f"{len(declarations())} hyperparameters; {sum(map(len, families))} choices in {len(families)} families"


def as_markdown() -> str:
    """The page of the documentation."""
    parts = [_HEAD]
    families = sorted(declarations().values(), key=lambda known: _families().index(known.family))
    for family, members in groupby(families, key=lambda known: known.family):
        parts.append(f"\n## {family.capitalize()}\n\n| name | default | allowed | meaning |\n|---|---|---|---|\n")
        parts += [_row(declaration) for declaration in members]
    return "".join(parts)


def _families() -> list[str]:
    return list(dict.fromkeys(declaration.family for declaration in declarations().values()))


def _row(known: Declaration) -> str:
    allowed = f"{known.allowed} {known.unit}".strip()
    return f"| `{known.name}` | {_default(known)} | {allowed} | {' '.join([known.meaning, *_remarks(known)])} |\n"


def _remarks(known: Declaration) -> list[str]:
    """Sentences on what it needs, and on what lanes share."""
    conditions = [_condition(*need) for need in known.needs]
    remarks = [f"Has an effect only {' and '.join(conditions)}."] if conditions else []
    return [*remarks, "One value for all lanes of a training."] if known.is_shared else remarks


def _condition(needed: str, *users: str) -> str:
    if needed in DATA_FACTS:
        return f"with {needed}"
    named = " or ".join(f"`{name}`" for name in needed.split(OR))
    return f"where {named} is {' or '.join(users) if users else 'above 0'}"


def _default(known: Declaration) -> str:
    default = known.default
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
