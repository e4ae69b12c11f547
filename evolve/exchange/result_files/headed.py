"""Result files with a header: evolve.csv, tune_results.csv, and the results.csv of a single run."""

from __future__ import annotations

from collections.abc import Mapping

from evolve.exchange.dialects import ultralytics, yolov3
from evolve.exchange.dialects.context import DialectError
from evolve.exchange.result_files.rows import (
    LOSSES,
    METRICS,
    V9_FITNESS,
    Cell,
    Results,
    Row,
    keys_of,
    lines_of,
    number_in,
)

_MAX_NAME = 100  # characters of a column's name
_NO_KEYS = ("epoch", "time", "fitness", "iteration", "F1", "loss", "dfl")


def _cells(line: str, number: int) -> list[Cell]:
    cells, start = [], 0
    for part in line.split(","):
        cells.append(Cell(part.strip(), number, start + len(part) - len(part.lstrip()) + 1))
        start += len(part) + 1
    return cells


def read_headed(text: str, origin: str) -> Results:
    """Content of a file with a header.

    Raises:
        DialectError: It does not fit; names line and column.
    """
    lines = [_cells(line, number) for number, line in lines_of(text, origin)]
    if len(lines) < 2:
        raise DialectError(f"{origin}:1:1: holds {len(lines)} lines; allowed: a header and at least one row")
    header = _header(lines[0], origin)
    for cells in lines[1:]:
        if len(cells) != len(header):
            last = cells[-1]
            raise DialectError(
                f"{origin}:{last.line}:{last.column}: {len(cells)} values in a table of {len(header)} columns"
            )
    rows = tuple(_row(dict(zip(header, cells, strict=True)), origin) for cells in lines[1:])
    if "epoch" in header:
        for cells in lines[1:]:
            _check_epoch(cells[header.index("epoch")], origin)
        if not any(name in METRICS for name in header):
            raise DialectError(f"{origin}:1:1: has no metrics; allowed: columns {list(METRICS)[:4]}")
        is_package = "metrics/mAP50(B)" in header
        dialect = ultralytics.NAME if is_package else yolov3.NAME
        return Results(kind="results.csv", dialect=dialect, rows=rows, weights=V9_FITNESS)
    if "fitness" in header:
        return Results(kind="tune_results.csv", dialect=ultralytics.NAME, rows=rows, weights=V9_FITNESS)
    if missing := [name for name in list(METRICS)[:4] if name not in header]:
        raise DialectError(f"{origin}:1:1: columns {missing} are missing; found: {header[:8]}")
    return Results(kind="evolve.csv", dialect=yolov3.NAME, rows=rows, weights=V9_FITNESS)


def _header(cells: list[Cell], origin: str) -> list[str]:
    seen: set[str] = set()
    for cell in cells:
        if not cell.text or cell.text in seen or len(cell.text) > _MAX_NAME:
            found = "is given twice" if cell.text in seen else "has no name" if not cell.text else "has too long a name"
            raise DialectError(f"{origin}:{cell.line}:{cell.column}: column {cell.text!r:.80} {found}")
        seen.add(cell.text)
    return [cell.text for cell in cells]


def _row(cells: Mapping[str, Cell], origin: str) -> Row:
    def numbers(names: Mapping[str, str], start: str) -> dict[str, float]:
        return {
            ours: number_in(cells[name], name, origin)
            for name, ours in names.items()
            if name in cells and name.startswith(start)
        }

    lr = tuple(number_in(cell, name, origin) for name, cell in cells.items() if name.startswith(("x/lr", "lr/pg")))
    return Row(
        line=next(iter(cells.values())).line,
        keys=keys_of({name: cell for name, cell in cells.items() if _is_key(name)}, origin),
        metrics=numbers(METRICS, "metrics"),
        losses=numbers(LOSSES, "val"),
        train_losses=numbers(LOSSES, "train"),
        fitness=number_in(cells["fitness"], "fitness", origin) if "fitness" in cells else None,
        lr=lr,
    )


def _check_epoch(cell: Cell, origin: str) -> None:
    # Rows are counted, since trainers begin at 0 or at 1; but a cell that is no count belongs to another table.
    if not number_in(cell, "epoch", origin).is_integer():
        raise DialectError(f"{origin}:{cell.line}:{cell.column}: epoch: {cell.text!r} is not a whole number")


def _is_key(name: str) -> bool:
    return "/" not in name and name not in _NO_KEYS
