"""Whether the search is safe: instability just above the best rate, and a space of which much diverges.

Source: Godbole, Dahl, Gilmer, Shallue & Nado 2023, Deep Learning Tuning Playbook, on infeasible points and on
optimization failures; Clopper & Pearson 1934 (the limit of a share).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

from scipy.special import betaincinv

from evolve.findings.edges import Edge, edge_of
from evolve.findings.search import Finding, Search
from evolve.formatting import number

RATE = "lr0"
CLOSE = 3.0  # times the best rate
LEAST_ENDED, LEAST_DIVERGED = 8, 3
MOST_DIVERGED = 0.2  # share that a search can well afford
CONFIDENCE = 0.95


def close_to_diverging(search: Search) -> Iterator[Finding]:
    """Trainings diverge from a rate on that is hardly above the best one."""
    edge = _edge(search, RATE)
    if edge is None or not edge.is_above or not search.trained:
        return
    best = float(search.best.params[RATE])
    if not 0 < best < edge.value < CLOSE * best:
        return
    beyond, lost = edge.beyond
    yield Finding(
        key="unstable",
        text=(
            f"{lost} of {beyond} trials above {RATE} {number(edge.value)} diverged, {edge.value / best:.2g} times the "
            f"best rate {number(best)}: another seed may diverge, too"
        ),
        evidence={"best": best, "edge": edge.value, "factor": edge.value / best, "beyond": beyond, "diverged": lost},
        command=f"evolve confirm {search.study.name}",
    )


def infeasible(search: Search) -> Iterator[Finding]:
    """So many trials diverged that their share is surely more than a search can well afford."""
    ended, lost = len(search.trained) + len(search.diverged), len(search.diverged)
    if ended < LEAST_ENDED or lost < LEAST_DIVERGED or (least := _lower_limit(lost, ended)) <= MOST_DIVERGED:
        return
    edges = [found for name in search.ranges if (found := _edge(search, name)) is not None and _spares(search, found)]
    edge = max(edges, key=lambda candidate: candidate.separation, default=None)
    text = f"{lost} of {ended} trials diverged, surely more than {least:.0%}"
    evidence: dict[str, float | int | str] = {"diverged": lost, "ended": ended, "at_least": least}
    if edge is None:
        first = search.diverged[0].number
        text += "; no single hyperparameter tells which: see why, then warm up longer, clip, or lower the rates"
        yield Finding(
            key="infeasible", text=text, evidence=evidence, command=f"evolve show {search.study.name} {first}"
        )
        return
    axis, (beyond, lost_beyond) = search.ranges[edge.name], edge.beyond
    end = float(f"{edge.value:.3g}")
    narrow = {"low": axis.low, "high": end} if edge.is_above else {"low": end, "high": axis.high}
    side = "above" if edge.is_above else "below"
    text += f", {lost_beyond} of {beyond} {side} {edge.name} {number(edge.value)}: leave that out of the space"
    yield Finding(
        key="infeasible",
        text=text,
        evidence=evidence | {"hyperparameter": edge.name, "edge": edge.value},
        changes={"space": search.study.space.to_mapping() | {edge.name: {**narrow, "log": axis.log}}},
    )


def _edge(search: Search, name: str) -> Edge | None:
    if name not in search.ranges:
        return None
    known = (*search.trained, *search.diverged)
    values = [float(tried.params.get(name, nan)) for tried in known]
    return edge_of(name, values, [tried.is_diverged for tried in known], is_log=search.ranges[name].log)


def _spares(search: Search, edge: Edge) -> bool:
    """Whether the best trial, if there is one, and some of the range lie on the side that is kept."""
    axis = search.ranges[edge.name]
    if not axis.low < float(f"{edge.value:.3g}") < axis.high:
        return False
    return not search.trained or (float(search.best.params[edge.name]) < edge.value) == edge.is_above


def _lower_limit(count: int, of: int) -> float:
    return float(betaincinv(count, of - count + 1, 1 - CONFIDENCE))
