"""The trials of a study as rows and as a table for the terminal."""

from __future__ import annotations

from typing import Any

from evolve.storage import Storage


def trial_rows(storage: Storage, study: str) -> list[dict[str, Any]]:
    """A row for every trial, best first, those without fitness last.

    Raises:
        StorageError: There is no such study.
    """
    study_id = storage.study_id(study)
    rows = []
    for frozen in storage.optuna.get_all_trials(study_id, deepcopy=False):
        outcome = storage.outcome(frozen._trial_id)
        rows.append(
            {
                "study": study,
                "trial": frozen.number,
                "verdict": "running" if outcome is None else str(outcome.verdict),
                "fitness": None if outcome is None or outcome.fitness != outcome.fitness else outcome.fitness,
                "params": frozen.params,
                "reason": "" if outcome is None else outcome.reason,
            }
        )
    return sorted(rows, key=lambda row: (row["fitness"] is None, -(row["fitness"] or 0.0), row["trial"]))


def trial_table(study: str, rows: list[dict[str, Any]], *, limit: int) -> str:
    """The rows as aligned lines, one a trial."""
    if not rows:
        return f"study {study}: no trials yet"
    names = list(rows[0]["params"])
    header = ["trial", "verdict", "fitness", *names, "reason"]
    body = [
        [
            str(row["trial"]),
            row["verdict"],
            "" if row["fitness"] is None else f"{row['fitness']:.4f}",
            *(_short(row["params"].get(name)) for name in names),
            row["reason"],
        ]
        for row in rows[:limit]
    ]
    widths = [max(len(line[column]) for line in [header, *body]) for column in range(len(header))]
    is_text = {1, len(header) - 1}
    lines = [
        "  ".join(
            cell.ljust(width) if column in is_text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *body]
    ]
    if len(rows) > limit:
        lines.append(f"and {len(rows) - limit} more: --limit {len(rows)}")
    return "\n".join(lines)


def _short(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
