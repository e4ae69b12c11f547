"""Whether the space is where good values are: the best at its edge, or alone.

Source: Godbole, Dahl, Gilmer, Shallue & Nado 2023, Deep Learning Tuning Playbook, on identifying bad search space
boundaries and on sampling enough points; Mann & Whitney 1947 (the test).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, prod
from statistics import median
from typing import Any

from detector.hyperparameters import declarations
from evolve.findings.search import Finding, Search, Tried, place, value_at
from evolve.formatting import counted, number, score
from evolve.study.space import Range

LEVEL = 0.05  # of significance, over all hyperparameters together
EDGE, ZONE = 0.1, 0.25  # of a range: where its end is near, and what lies towards it
LEAST_INSIDE, LEAST_OUTSIDE = 3, 5
WIDER = 0.5  # of a range, in its own scale, that is added beyond an end
LEAST_TRAINED = 8
NEAR = 0.15  # of a range, either way
MOST_ALONE = 1  # other trials near the best
LUCK = 0.01  # of significance: one study in a hundred would have such a best by chance
LEAST_AROUND, RUNNERS_UP = 12, 3
_ALL_DIGITS = 17  # of a number of 64 bits, after which it is itself


def at_an_edge(search: Search) -> Iterator[Finding]:
    """The best value lies at an end of its range, and trials towards that end are better than the others."""
    if len(search.trained) < LEAST_TRAINED:
        return
    for name, axis in search.ranges.items():
        at = place(axis, search.best.params[name])
        is_upper = at > 1 - EDGE
        if (is_upper or at < EDGE) and 0 <= at <= 1 and (found := _edge(search, name, axis, is_upper=is_upper)):
            yield found


def _edge(search: Search, name: str, axis: Range, *, is_upper: bool) -> Finding | None:
    wider = _wider(name, axis, is_upper=is_upper)
    inside, outside = _split(search, name, axis, is_upper=is_upper)
    if wider is None or len(inside) < LEAST_INSIDE or len(outside) < LEAST_OUTSIDE:
        return None
    from scipy.stats import mannwhitneyu  # half a second to import, for the few searches that come so far

    rated = [[_rated(tried) for tried in part] for part in (inside, outside)]
    p = float(mannwhitneyu(*rated, alternative="greater").pvalue)
    if p >= LEVEL / len(search.ranges):
        return None
    best = search.best
    end = f"within a tenth of the {'upper' if is_upper else 'lower'} end of {axis.low:g} to {axis.high:g}"
    medians = [median(part) for part in rated]
    at = place(axis, best.params[name])
    places = [place(axis, tried.params[name]) for tried in inside]
    beyond = [rate for rate, other in zip(rated[0], places, strict=True) if (other > at if is_upper else other < at)]
    if len(beyond) >= LEAST_INSIDE and median(beyond) < medians[0]:  # it falls again before the end
        return None
    return Finding(
        key=f"edge-{name}",
        text=(
            f"the best {name}, {number(float(best.params[name]))} of trial {best.number}, is {end}, and the "
            f"{counted(len(inside), 'trial')} in that quarter of it have a median fitness of {score(medians[0])}, "
            f"the others of {score(medians[1])} (p {number(p)}){_told(beyond)}: "
            f"search {wider['low']:g} to {wider['high']:g}"
        ),
        evidence={
            "best": float(best.params[name]),
            "trials_inside": len(inside),
            "trials_outside": len(outside),
            "median_inside": medians[0],
            "median_outside": medians[1],
            "p": p,
            "trials_beyond": len(beyond),
        },
        changes={"space": search.study.space.to_mapping() | {name: wider}},
    )


def _told(beyond: Sequence[float]) -> str:
    """What became of trials beyond the best, to be added to a sentence; nothing where there are none."""
    if not beyond:
        return ""
    most = "diverged" if max(beyond) == -inf else f"came to at most {score(max(beyond))}"
    return f", but {counted(len(beyond), 'trial')} beyond it {most}"


def _split(search: Search, name: str, axis: Range, *, is_upper: bool) -> tuple[list[Tried], list[Tried]]:
    """Trials in the quarter of a range towards an end, and the others."""
    inside: list[Tried] = []
    outside: list[Tried] = []
    for tried in (*search.trained, *search.diverged):
        at = place(axis, tried.params[name])
        (inside if (at >= 1 - ZONE if is_upper else at <= ZONE) else outside).append(tried)
    return inside, outside


def _rated(tried: Tried) -> float:
    """Fitness of a trial; of one that diverged minus infinity, which is worse than any other."""
    return tried.fitness if tried.is_trained_through else -inf


def _wider(name: str, axis: Range, *, is_upper: bool) -> dict[str, Any] | None:
    """The range with one end further out; None where nothing beyond is allowed."""
    declared = declarations().get(name)
    if declared is None:
        return None
    low, high = axis.low, axis.high
    if is_upper:
        high = min(_rounded(value_at(axis, 1 + WIDER), beyond=high, digits=2), declared.high)
    else:
        low = max(_rounded(value_at(axis, -WIDER), beyond=low, digits=2), declared.low)
    if (low, high) == (axis.low, axis.high) or (axis.log and low <= 0):
        return None
    return {"low": low, "high": high, "log": axis.log}


def _rounded(value: float, *, beyond: float, digits: int) -> float:
    """A number with so many digits, or with as many more as keep it on its side of another one."""
    found = (float(f"{value:.{count}g}") for count in range(digits, _ALL_DIGITS + 1))
    return next(near for near in found if (near < beyond, near > beyond) == (value < beyond, value > beyond))


def alone(search: Search) -> Iterator[Finding]:
    """The best trial stands above the others, and hardly another lies near it, so that nobody knows if it is luck."""
    ranges, trained = search.ranges, search.trained
    if len(trained) < LEAST_AROUND or not ranges or not _is_inside(search.best, ranges):
        return
    near = [tried for tried in trained[1:] if _is_near(tried, search)]
    gap, p = _stands_out([tried.fitness for tried in trained])
    if len(near) > MOST_ALONE or p >= LUCK:
        return
    narrow = {name: _around(axis, float(search.best.params[name])) for name, axis in ranges.items()}
    others = counted(len(near), "other trial") if near else "no other trial"
    yield Finding(
        key="alone",
        text=(
            f"trial {search.best.number} stands alone: its fitness is {score(trained[0].fitness)}, the next "
            f"{score(trained[1].fitness)} (p {number(p)}), and {others} of {len(trained)} lies within {NEAR:.0%} of "
            "the ranges of it"
        ),
        evidence={"gap": gap, "p": p, "near": len(near), "trained": len(trained)},
        changes={"space": search.study.space.to_mapping() | narrow},
    )


def _stands_out(fitness: Sequence[float]) -> tuple[float, float]:
    """By how much the best fitness is above the next, and the p-value of so large a gap by luck.

    Where the upper tail is that of an exponential distribution, the i-th distance from the top is one with mean 1 / i:
    the chance that the first is g times the sum of those up to the r-th is the product of i / (i + g).

    Args:
        fitness: Fitness of twelve trials or more, the best first.

    Source: Renyi 1953, On the theory of order statistics.
    """
    later = max(len(fitness) // 4, RUNNERS_UP)
    gap, rest = fitness[0] - fitness[1], fitness[1] - fitness[later]
    if gap <= 0:
        return gap, 1.0
    return gap, 0.0 if rest <= 0 else prod(i / (i + gap / rest) for i in range(2, later + 1))


def _is_inside(tried: Tried, ranges: Mapping[str, Range]) -> bool:
    return all(axis.holds(tried.params[name]) for name, axis in ranges.items())


def _is_near(tried: Tried, search: Search) -> bool:
    best, ranges = search.best.params, search.ranges
    others: Sequence[str] = [name for name in best if name not in ranges]
    return all(tried.params[name] == best[name] for name in others) and all(
        abs(place(axis, tried.params[name]) - place(axis, best[name])) <= NEAR for name, axis in ranges.items()
    )


def _around(axis: Range, best: float) -> dict[str, Any]:
    """The part of a range near a value, which is inside."""
    at = place(axis, best)
    low = axis.low if at <= NEAR else _rounded(value_at(axis, at - NEAR), beyond=best, digits=3)
    high = axis.high if at >= 1 - NEAR else _rounded(value_at(axis, at + NEAR), beyond=best, digits=3)
    return {"low": max(low, axis.low), "high": min(high, axis.high), "log": axis.log}
