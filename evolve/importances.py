"""How much each hyperparameter of a search mattered, for its fitness or for diverging: pure functions of its trials.

A Gaussian process with a length scale for each hyperparameter is fitted to the trials in the unit cube. What a
hyperparameter matters is its total index: the part of the model's variance over the space that is left open where all
others are known, what it does together with others included. Shares are total indices, made to add up to 1.

Shapes: N trials, K hyperparameters, D columns that they become, M points of the space, R resamples.

Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, sections 5.1 (length scales) and 5.4.2
(leaving one out); Saltelli et al. 2010, Variance based sensitivity analysis of model output (total indices).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from scipy.linalg import cho_solve
from scipy.optimize import minimize
from scipy.stats import qmc, rankdata, sobol_indices

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

LEAST_TRIALS = 20
LEAST_EXPLAINED = 0.2  # of noise alone a model foretells less in 19 of 20 cases of 30 trials
LEAST_OF_EACH = 5  # trials that diverged, and that did not, before anything is said of the difference
MOST_MODELLED = 150  # a model of more takes longer than a page may, and says the same
RESAMPLES, RESAMPLED_STEPS = 40, 6  # steps of the fit to a resample, which begins at that to all trials
POINTS = 256  # of each of the two samples of the space; a power of 2

Params = Mapping[str, object]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """How much each hyperparameter mattered for how good the trials were, or for diverging.

    Attributes:
        shares: Name and share in 0..1, largest first, adding up to 1; empty if nothing can be said.
        intervals: For each of them the middle 90 % of its share over resamples of the trials.
        unclear: Names whose rank another may have as well, by the middle 90 % of ranks over resamples.
        num_trials: Trials that there are.
        num_modelled: Those that the shares rest on: all of them, or as many as are modelled, evenly over their order.
        explained: Part of the variance that a model of the others foretells of each trial, at most 1.
        reason: Why there are no shares; empty if there are.
    """

    shares: tuple[tuple[str, float], ...] = ()
    intervals: tuple[tuple[float, float], ...] = ()
    unclear: tuple[str, ...] = ()
    num_trials: int
    num_modelled: int = 0
    explained: float = nan
    reason: str = ""


def importances(
    params: Sequence[Params], fitness: Sequence[float], distributions: Mapping[str, Sequence[str]]
) -> Importances:
    """Shares of importance for the fitness.

    Args:
        params: Hyperparameters of each completed, feasible trial, choices as text; a conditional one may be missing.
        fitness: Fitness of each of these trials; those whose fitness is not finite are left out.
        distributions: Optuna's JSON of each hyperparameter, all that were in use; the widest range counts.
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
        distributions: Optuna's JSON of each hyperparameter, all that were in use; the widest range counts.
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


def _shared_out(
    rows: Sequence[tuple[Params, float]], distributions: Mapping[str, Sequence[str]], *, what: str
) -> Importances:
    """Shares of what the values of the rows vary by."""
    varied = {
        name: _widest(texts)
        for name, texts in distributions.items()
        if len({repr(param.get(name)) for param, _ in rows}) > 1
    }
    if not varied:
        return Importances(num_trials=len(rows), reason="no hyperparameter took more than one value")
    kept = [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, MOST_MODELLED).round().astype(int))]
    space = _Space(varied)
    x_ND, y_N = space.columns(space.unit([param for param, _ in kept])), np.array([value for _, value in kept])
    model = _fitted(x_ND, y_N, None)
    explained = _explained(model, y_N)
    if explained < LEAST_EXPLAINED:
        foretold = f"of {what} a model of the other trials foretells {max(explained, 0.0):.0%}"
        reason = f"{foretold}, as much as noise alone may ({LEAST_EXPLAINED:.0%})"
        return Importances(num_trials=len(rows), num_modelled=len(kept), explained=explained, reason=reason)
    totals_K = space.totals(model)
    order_K = np.argsort(-totals_K, kind="stable")
    resampled_RK = _resampled(space, model, x_ND, y_N)[:, order_K]
    names = [list(varied)[place] for place in order_K]
    return Importances(
        shares=tuple(zip(names, (totals_K / totals_K.sum())[order_K].tolist(), strict=True)),
        intervals=_middle(resampled_RK),
        unclear=tuple(name for name, is_shared in zip(names, _shares_rank(resampled_RK), strict=True) if is_shared),
        num_trials=len(rows),
        num_modelled=len(kept),
        explained=explained,
    )


class _Space:
    """The hyperparameters of a search as columns of a model.

    Args:
        distributions: By name, in the order of the columns.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = dict(distributions)
        count = len(self._distributions)
        both = qmc.Sobol(2 * count, rng=np.random.default_rng(0)).random(POINTS)
        one_MK, other_MK = both[:, :count], both[:, count:]
        mixed = [np.where(np.arange(count) == place, other_MK, one_MK) for place in range(count)]
        self._points_MD = self.columns(np.concatenate([one_MK, other_MK, *mixed]))

    def unit(self, params: Sequence[Params]) -> Array:
        """Values in 0..1 of each trial, shape (N, K); not a number where it has none."""
        return np.array(
            [[_unit(drawn, param.get(name)) for name, drawn in self._distributions.items()] for param in params]
        )

    def columns(self, unit_NK: Array) -> Array:
        """What the model sees, shape (N, D): a choice as a column for each value, a missing number as the middle."""
        found: list[Array] = []
        for unit_N, drawn in zip(unit_NK.T, self._distributions.values(), strict=True):
            if isinstance(drawn, CategoricalDistribution):
                count = len(drawn.choices)
                found.append((np.floor(unit_N * count)[:, None] == np.arange(count)).astype(np.float64))
            else:
                found.append(np.where(np.isnan(unit_N), 0.5, unit_N)[:, None])
        return np.concatenate(found, axis=1)

    def totals(self, model: GaussianProcessRegressor) -> Array:
        """Total index of each hyperparameter, shape (K,), not below 0; all 0 where the model is flat."""
        one, other, *mixed = model.predict(self._points_MD).reshape(-1, 1, POINTS)
        if np.ptp(one) == 0:
            return np.zeros(len(mixed))
        values = {"f_A": one, "f_B": other, "f_AB": np.stack(mixed)}
        return np.asarray(sobol_indices(func=values, n=POINTS).total_order, dtype=np.float64).ravel()


def _unit(drawn: BaseDistribution, value: Any) -> float:
    if value is None:
        return nan
    if isinstance(drawn, CategoricalDistribution):
        return (drawn.choices.index(str(value)) + 0.5) / len(drawn.choices)
    assert isinstance(drawn, FloatDistribution | IntDistribution)
    low, high, at = (log(number) if drawn.log else float(number) for number in (drawn.low, drawn.high, value))
    return (at - low) / (high - low)


def _fitted(x_ND: Array, y_N: Array, near: GaussianProcessRegressor | None) -> GaussianProcessRegressor:
    """A process fitted to trials, by a few steps from another one where that is given."""
    from sklearn.exceptions import ConvergenceWarning  # takes half a second to import
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    own = ConstantKernel(1.0, (1e-2, 1e3)) * RBF(np.ones(x_ND.shape[1]), (0.05, 50.0)) + WhiteKernel(1e-2, (1e-6, 2.0))
    steps = None if near is None else RESAMPLED_STEPS
    model = GaussianProcessRegressor(
        own if near is None else near.kernel_, normalize_y=True, optimizer=_optimizer(steps)
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # a length scale at its end is a hyperparameter without effect
        return model.fit(x_ND, y_N)


def _optimizer(steps: int | None) -> Callable[..., tuple[Array, float]]:
    options = {} if steps is None else {"maxiter": steps}

    def best(objective: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
        found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
        return found.x, found.fun

    return best


def _explained(model: GaussianProcessRegressor, y_N: Array) -> float:
    """Part of the variance that is foretold of each value by a model of the others, with the same length scales."""
    inverse_NN = cho_solve((model.L_, True), np.eye(len(y_N)))
    missed_N = model.alpha_ / np.diag(inverse_NN) * y_N.std()  # equation 5.12
    return 1 - float((missed_N**2).mean() / y_N.var())


def _resampled(space: _Space, model: GaussianProcessRegressor, x_ND: Array, y_N: Array) -> Array:
    """Shares of resamples with replacement, one a row."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn_N = rng.integers(0, len(y_N), len(y_N))
        if np.ptp(y_N[drawn_N]) > 0:
            found.append(space.totals(_fitted(x_ND[drawn_N], y_N[drawn_N], model)))
    totals_RK = np.array(found)
    return totals_RK / np.maximum(totals_RK.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _middle(values_RK: Array) -> tuple[tuple[float, float], ...]:
    low_K, high_K = np.quantile(values_RK, [0.05, 0.95], axis=0)
    return tuple(zip(low_K.tolist(), high_K.tolist(), strict=True))


def _shares_rank(shares_RK: Array) -> list[bool]:
    """Whether each column's middle 90 % of ranks overlaps with that of another."""
    ranges = _middle(rankdata(-shares_RK, axis=1))
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
