"""Where the time of a study's workers went, in a line and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from evolve import formatting
from evolve.storage.time_spent import RunSpan, TimeSpent


def time_line(spent: TimeSpent) -> str:
    """Where the time went, in one line; empty where nothing was trained."""
    if not spent.worker_seconds > 0:
        if not spent.spent.total:
            return ""
        whole, known = spent.spent.total, "of training and validating, waiting not known"
    else:
        whole, known = spent.worker_seconds, "of workers"
    parts = [f"{seconds / whole:.0%} {name}" for name, seconds in spent.parts.items() if seconds or name == "waiting"]
    wasted = f"; {_share(spent.wasted, spent.spent.total)} of that work wasted" if spent.wasted else ""
    return f"time    {formatting.duration(whole)} {known}: {', '.join(parts)}{wasted}"


def time_table(study: str, spent: TimeSpent) -> str:
    """Seconds by what they went into, by verdict, and by run."""
    lines = [f"study   {study}"]
    if not spent.runs and not spent.spent.total:
        return "\n".join([*lines, "time    none: nothing of it was trained here"])
    rows = [("went into", "seconds of a worker", ""), *_parts(spent)]
    rows += [("", "", ""), ("verdict", "training", "validating")]
    rows += [
        (name, f"{seconds.training:.1f}", f"{seconds.validating:.1f}") for name, seconds in spent.by_verdict.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines += [
        f"{what:<{widths[0]}}  {first:>{widths[1]}}  {second:>{widths[2]}}".rstrip() for what, first, second in rows
    ]
    if spent.wasted:
        share = _share(spent.wasted, spent.spent.total)
        lines += [
            "",
            f"wasted  {spent.wasted:.1f} s on trials that diverged, were pruned or failed, {share} of the work",
        ]
    return "\n".join([*lines, "", *map(_run, spent.runs)]).rstrip()


def _parts(spent: TimeSpent) -> Iterator[tuple[str, str, str]]:
    for name, seconds in spent.parts.items():
        yield name, f"{seconds:.1f}", _share(seconds, spent.worker_seconds) if spent.worker_seconds > 0 else ""
    if isfinite(spent.worker_seconds):
        yield "in all", f"{spent.worker_seconds:.1f}", ""
    else:
        yield "waiting", "not known", "trained before runs were recorded"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else ""


def _run(run: RunSpan) -> str:
    workers = formatting.counted(run.workers, "worker")
    lanes = f" of {run.lanes} trials at once" if run.lanes > 1 else ""
    end = "" if run.has_ended else ", as far as it was heard of"
    took = formatting.duration(run.seconds)
    return f"run     {formatting.moment(run.started)}, {took}{end}: {workers}{lanes} on {run.host}, {run.device}"
