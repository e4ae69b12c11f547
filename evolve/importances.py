"""How much each hyperparameter of a search mattered, for its fitness or for diverging: pure functions of its trials.

The trials are modelled as a sum of one smooth curve a hyperparameter: a cubic spline, or a level for each choice, held
back by ridge regression as leaving one trial out says. What a hyperparameter matters is the variance of its curve over
the trials. So what it does by itself counts, and what two do only together does not.

Shapes: N trials, K hyperparameters, D columns that they become, R resamples.

Source: Hastie & Tibshirani 1986, Generalized additive models; Eilers & Marx 1996, Flexible smoothing with B-splines and
penalties; Golub, Heath & Wahba 1979, Generalized cross-validation as a method for choosing a good ridge parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from scipy.stats import rankdata

LEAST_TRIALS = 20
LEAST_EXPLAINED = 0.2
LEAST_OF_EACH = 5  # trials that diverged, and that did not, before anything is said of the difference
RESAMPLES = 40
MOST_RESAMPLED = 200  # of more trials each resample would take as long as a page may; their order is what it is
KNOTS = 4  # of a curve, evenly over the values that were tried
PENALTIES = np.logspace(-5, 2, 15)

Params = Mapping[str, object]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """How much each hyperparameter mattered for how good the trials were, or for diverging.

    Attributes:
        shares: Name and share in 0..1, largest first, adding up to 1; empty if nothing can be said.
        intervals: For each of them the middle 90 % of its share over resamples of the trials; empty beyond 200 trials.
        unclear: Names whose rank another may have as well, by the middle 90 % of ranks over resamples.
        num_trials: Number of trials that the shares rest on.
        explained: Part of the variance that a model of the other trials foretells of each, at most 1; NaN where no
            model was fitted.
        reason: Why there are no shares; empty if there are.
    """

    shares: tuple[tuple[str, float], ...] = ()
    intervals: tuple[tuple[float, float], ...] = ()
    unclear: tuple[str, ...] = ()
    num_trials: int
    explained: float = nan
    reason: str = ""


def importances(
    params: Sequence[Params], fitness: Sequence[float], distributions: Mapping[str, Sequence[str]]
) -> Importances:
    """Shares of importance for the fitness.

    Args:
        params: Hyperparameters of each completed, feasible trial, choices as text; a conditional one may be missing.
        fitness: Fitness of each of these trials; those whose fitness is not finite are left out.
        distributions: All distributions that were in use, as Optuna's JSON, by the name of the hyperparameter; the
            widest range counts.
    """
    rows = [(param, value) for param, value in zip(params, fitness, strict=True) if isfinite(value)]
    reason = _too_few(len(rows), "completed trials")
    if not reason and len({value for _, value in rows}) == 1:
        reason = f"all {len(rows)} completed trials have the same fitness"
    if reason:
        return Importances(num_trials=len(rows), reason=reason)
    return _shared_out(rows, distributions, what="how good a trial is")


def divergence_importances(
    params: Sequence[Params], is_diverged: Sequence[bool], distributions: Mapping[str, Sequence[str]]
) -> Importances:
    """Shares of importance for diverging.

    Args:
        params: Hyperparameters of each trial that diverged or ran to its end, as `importances` takes them.
        is_diverged: Whether each of them diverged.
        distributions: All distributions that were in use, as Optuna's JSON, by the name of the hyperparameter; the
            widest range counts.
    """
    rows = [(param, float(diverged)) for param, diverged in zip(params, is_diverged, strict=True)]
    num_diverged = sum(is_diverged)
    reason = _too_few(len(rows), "trials")
    if not reason and min(num_diverged, len(rows) - num_diverged) < LEAST_OF_EACH:
        reason = f"{num_diverged} of {len(rows)} trials diverged; at least {LEAST_OF_EACH} must, and as many not"
    if reason:
        return Importances(num_trials=len(rows), reason=reason)
    return _shared_out(rows, distributions, what="whether a trial diverges")


def _too_few(count: int, noun: str) -> str:
    return "" if count >= LEAST_TRIALS else f"{count} {noun}; importances need at least {LEAST_TRIALS}"


class _Fit(NamedTuple):
    """What a model of trials says.

    Attributes:
        variance_K: Variance of the curve of each hyperparameter over the trials.
        explained: Part of the variance that a model of the other trials foretells of each.
        penalty: Penalty of the ridge regression that was taken.
    """

    variance_K: Array
    explained: float
    penalty: float


def _shared_out(
    rows: Sequence[tuple[Params, float]], distributions: Mapping[str, Sequence[str]], *, what: str
) -> Importances:
    """Shares of what the values of the rows vary by."""
    varied = {
        name: drawn
        for name, texts in distributions.items()
        if not (drawn := _widest(texts)).single() and len({repr(param.get(name)) for param, _ in rows}) > 1
    }
    if not varied:
        return Importances(num_trials=len(rows), reason="no hyperparameter took more than one value")
    columns = [_columns(drawn, [param.get(name) for param, _ in rows]) for name, drawn in varied.items()]
    y_N = np.array([value for _, value in rows])
    variance_K, explained, penalty = _fitted(columns, y_N, PENALTIES)
    if explained < LEAST_EXPLAINED:
        foretold = f"of {what} a model of the other trials foretells {max(explained, 0.0):.0%}"
        reason = f"{foretold}, as much as noise alone may ({LEAST_EXPLAINED:.0%})"
        return Importances(num_trials=len(rows), explained=explained, reason=reason)
    order_K = np.argsort(-variance_K, kind="stable")
    names = [list(varied)[place] for place in order_K]
    shares_RK = (
        _resampled(columns, y_N, penalty)[:, order_K] if len(y_N) <= MOST_RESAMPLED else np.empty((0, len(names)))
    )
    return Importances(
        shares=tuple(zip(names, (variance_K / variance_K.sum())[order_K].tolist(), strict=True)),
        intervals=_middle(shares_RK),
        unclear=tuple(name for name, is_shared in zip(names, _shares_rank(shares_RK), strict=True) if is_shared),
        num_trials=len(rows),
        explained=explained,
    )


def _columns(drawn: BaseDistribution, values: Sequence[Any]) -> Array:
    """A hyperparameter as columns of a model, shape (N, D): a spline, or one a choice; a missing one is the middle."""
    from sklearn.preprocessing import SplineTransformer  # takes a second to import

    if isinstance(drawn, CategoricalDistribution):
        texts = np.array(["" if value is None else str(value) for value in values])
        chosen: Array = (texts[:, None] == np.array(drawn.choices)).astype(np.float64)
        return chosen
    unit_N = np.array([0.5 if value is None else _unit(drawn, value) for value in values])
    found: Array = SplineTransformer(n_knots=KNOTS, include_bias=False).fit_transform(unit_N[:, None])
    return found


def _unit(drawn: BaseDistribution, value: float) -> float:
    assert isinstance(drawn, FloatDistribution | IntDistribution)
    low, high, at = (log(number) if drawn.log else float(number) for number in (drawn.low, drawn.high, value))
    return (at - low) / (high - low)


def _fitted(columns: Sequence[Array], y_N: Array, penalties: Sequence[float] | Array) -> _Fit:
    """A curve for each hyperparameter, fitted to the trials with that of the penalties that foretells best."""
    from sklearn.linear_model import RidgeCV

    x_ND = np.concatenate(columns, axis=1)
    model = RidgeCV(alphas=penalties, store_cv_results=True).fit(x_ND, y_N)
    ends = np.cumsum([part.shape[1] for part in columns])[:-1]
    parts = zip(columns, np.split(model.coef_, ends), strict=True)
    missed = model.cv_results_.mean(axis=0).min()
    variance_K = np.array([(part @ own_D).var() for part, own_D in parts])
    return _Fit(variance_K, 1 - float(missed / y_N.var()), float(model.alpha_))


def _resampled(columns: Sequence[Array], y_N: Array, penalty: float) -> Array:
    """Shares of resamples with replacement, one a row; trials drawn twice would choose too small a penalty."""
    rng = np.random.default_rng(0)
    drawn_RN = rng.integers(0, len(y_N), (RESAMPLES, len(y_N)))
    varied = [drawn_N for drawn_N in drawn_RN if np.ptp(y_N[drawn_N])]
    fits = [_fitted([part[drawn_N] for part in columns], y_N[drawn_N], [penalty]) for drawn_N in varied]
    variance_RK = np.array([fit.variance_K for fit in fits])
    shares_RK: Array = variance_RK / np.maximum(variance_RK.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return shares_RK


def _middle(values_RK: Array) -> tuple[tuple[float, float], ...]:
    if not len(values_RK):
        return ()
    low_K, high_K = np.quantile(values_RK, [0.05, 0.95], axis=0)
    return tuple(zip(low_K.tolist(), high_K.tolist(), strict=True))


def _shares_rank(shares_RK: Array) -> list[bool]:
    """Whether each column's middle 90 % of ranks overlaps with that of another."""
    ranges = _middle(rankdata(-shares_RK, axis=1)) if len(shares_RK) else ()
    if not ranges:
        return [False] * shares_RK.shape[1]
    return [
        any(
            low <= other_high and other_low <= high
            for place, (other_low, other_high) in enumerate(ranges)
            if place != own
        )
        for own, (low, high) in enumerate(ranges)
    ]


def _widest(texts: Sequence[str]) -> BaseDistribution:
    known = [json_to_distribution(text) for text in texts]
    categorical = [distribution for distribution in known if isinstance(distribution, CategoricalDistribution)]
    if categorical:
        return CategoricalDistribution(
            tuple(dict.fromkeys(str(value) for distribution in categorical for value in distribution.choices))
        )
    numeric = [distribution for distribution in known if isinstance(distribution, FloatDistribution | IntDistribution)]
    low, high = min(distribution.low for distribution in numeric), max(distribution.high for distribution in numeric)
    is_log = all(distribution.log for distribution in numeric)
    if all(isinstance(distribution, IntDistribution) for distribution in numeric):
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)
