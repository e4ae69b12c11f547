"""Whether every key of the space earns its place: those that can have no effect, and those that had hardly any.

Source: Kruskal & Wallis 1952 (ranks in groups); Steiger 2004, Beyond the F test (limits of explained variance).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evolve.findings.search import Finding, Search
from evolve.formatting import parameter
from evolve.study.checks import idle_keys
from evolve.study.space import OF_PLAN, Choices

LEAST_TRAINED = 40
BINS = 4
MOST_EXPLAINED = 0.1  # of the variance of ranks
CONFIDENCE = 0.95


def without_use(search: Search) -> Iterator[Finding]:
    """Hyperparameters of the space that nothing in the study lets have an effect."""
    for name, reason in idle_keys(search.study).items():
        if name in search.study.space and len(search.study.space) > 1:
            value = search.study.baseline_params()[name]
            yield _left_out(
                search,
                name,
                key=f"no-use-{name}",
                text=f"{name} is searched and can have no effect: {reason}",
                value=value,
                evidence={},
            )


def hardly_mattered(search: Search) -> Iterator[Finding]:
    """Hyperparameters that by themselves surely explain hardly anything of who did well."""
    trained, space = search.trained, search.study.space
    if len(trained) < LEAST_TRAINED or len(space) < 2:
        return
    from scipy.stats import rankdata  # half a second to import, for large searches alone

    ranks_N = rankdata([tried.fitness for tried in trained])
    for name in space:
        if name in idle_keys(search.study):
            continue
        groups = _groups(ranks_N, [tried.params[name] for tried in trained], is_choice=isinstance(space[name], Choices))
        if (most := _most_explained(groups)) < MOST_EXPLAINED:
            yield _left_out(
                search,
                name,
                key=f"no-effect-{name}",
                text=(
                    f"{name} by itself explains at most {most:.0%} of the order of {len(trained)} trials "
                    f"({CONFIDENCE:.0%} limit): fix it and search the others more densely"
                ),
                value=search.best.params[name],
                evidence={"explained_at_most": most, "trials": len(trained)},
            )


def _left_out(
    search: Search, name: str, *, key: str, text: str, value: float | str | bool, evidence: dict[str, float | int | str]
) -> Finding:
    space = {other: axis for other, axis in search.study.space.to_mapping().items() if other != name}
    kept, fixed = f"{text}; kept at {parameter(value)}", {name: value}
    changes, fixes = ({"space": space} | fixed, {}) if name in OF_PLAN else ({"space": space}, fixed)
    return Finding(key=key, text=kept, evidence=evidence, changes=changes, fixes=fixes)


def _groups(ranks_N: NDArray[np.float64], values: Sequence[object], *, is_choice: bool) -> list[NDArray[np.float64]]:
    """Ranks of the fitness by choice, or by quarter of the values."""
    if is_choice:
        return [ranks_N[[value == choice for value in values]] for choice in dict.fromkeys(values)]
    order = np.argsort(np.asarray(values, dtype=np.float64), kind="stable")
    return [ranks_N[part] for part in np.array_split(order, BINS)]


def _most_explained(groups: Sequence[NDArray[np.float64]]) -> float:
    """Upper confidence limit of the share of variance that lies between the groups; 1 where it is above a half.

    With k groups of n values in all, F of the ranks is taken for a noncentral F, whose noncentrality l explains
    l / (l + n) of the variance.
    """
    from scipy.optimize import brentq
    from scipy.stats import f_oneway, ncf

    groups = [group for group in groups if len(group) > 1]
    total = sum(map(len, groups))
    if len(groups) < 2 or total <= len(groups):
        return 1.0
    found = float(f_oneway(*groups).statistic)
    between, within = len(groups) - 1, total - len(groups)

    def chance(noncentrality: float) -> float:
        return float(ncf.cdf(found, between, within, noncentrality)) - (1 - CONFIDENCE)

    half = float(total)  # of the variance: beyond, nobody asks for the limit
    if not np.isfinite(found) or not chance(half) < 0:
        return 1.0
    if chance(0.0) <= 0:
        return 0.0
    largest = brentq(chance, 0.0, half)
    return float(largest / (largest + total))
