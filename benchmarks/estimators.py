"""Ways to say which hyperparameters matter, asked the same question of the same studies.

    python -m benchmarks.estimators [--studies 100] [--trials 30,60,100] [--only gp-total,fanova] [--cases 0,1,2,3]

Each takes trials in the unit cube and their fitness, and gives a score for each hyperparameter. Printed is the share
of studies (`planted.py`) in which the three that matter have the three largest scores, and what an answer costs.

Source: Watanabe et al. 2023 (PED-ANOVA); Hutter et al. 2014 (fANOVA); Breiman 2001 (importance by impurity and by
permutation); Tibshirani 1996 (lasso); Neal 1996 (relevance by length scales); Saltelli et al. 2010 (total indices).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, MeanDecreaseImpurityImportanceEvaluator
from scipy.stats import norm, rankdata, sobol_indices, spearmanr, uniform
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.preprocessing import SplineTransformer

from benchmarks.planted import MATTERING, NAMES, Array, Planted, planted
from benchmarks.quiet import quiet_optuna
from evolve.importances import importances

Estimator = Callable[[Array, Array], Array]
CASES = (  # noise, share of the range of the first that diverges
    (0.0, 0.0),
    (0.02, 0.0),
    (0.1, 0.0),
    (0.02, 0.2),
)


def ped_anova(x_NK: Array, y_N: Array) -> Array:
    """PED-ANOVA, by Optuna, with max(0.1, 5 / n) as quantile."""
    quantile = min(max(5 / len(y_N), 0.1), 0.5)
    return _by_optuna(x_NK, y_N, optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile))


def fanova(x_NK: Array, y_N: Array) -> Array:
    """fANOVA of a random forest, by Optuna."""
    return _by_optuna(x_NK, y_N, FanovaImportanceEvaluator(seed=0))


def impurity(x_NK: Array, y_N: Array) -> Array:
    """Mean decrease of impurity in a random forest, by Optuna."""
    return _by_optuna(x_NK, y_N, MeanDecreaseImpurityImportanceEvaluator(seed=0))


def spearman(x_NK: Array, y_N: Array) -> Array:
    """Rank correlation."""
    return np.abs([spearmanr(x_N, y_N).statistic for x_N in x_NK.T])


def quadratic(x_NK: Array, y_N: Array) -> Array:
    """Least squares on values and their squares; variance of what each adds."""
    terms_ND = np.concatenate([x_NK, x_NK**2], axis=1)
    terms_ND = terms_ND - terms_ND.mean(axis=0)
    found_D = np.linalg.lstsq(terms_ND, y_N - y_N.mean(), rcond=None)[0]
    return _added(terms_ND, found_D, x_NK.shape[1])


def lasso(x_NK: Array, y_N: Array) -> Array:
    """The lasso on values and their squares, its penalty by cross-validation."""
    terms_ND = np.concatenate([x_NK - 0.5, (x_NK - 0.5) ** 2], axis=1)
    terms_ND = (terms_ND - terms_ND.mean(axis=0)) / terms_ND.std(axis=0)
    return _added(terms_ND, LassoCV(cv=5).fit(terms_ND, y_N).coef_, x_NK.shape[1])


def splines(x_NK: Array, y_N: Array) -> Array:
    """Ridge regression on a cubic spline of each, its penalty by leaving one out; variance of what each adds."""
    parts = [SplineTransformer(n_knots=4, include_bias=False).fit_transform(x_N[:, None]) for x_N in x_NK.T]
    terms_ND = np.concatenate(parts, axis=1)
    terms_ND = terms_ND - terms_ND.mean(axis=0)
    found_D = RidgeCV(alphas=np.logspace(-5, 2, 15)).fit(terms_ND, y_N).coef_
    width = parts[0].shape[1]
    return np.array(
        [(terms_ND[:, at : at + width] @ found_D[at : at + width]).var() for at in range(0, len(found_D), width)]
    )


def forest_permutation(x_NK: Array, y_N: Array) -> Array:
    """What a random forest loses where a column is permuted, by scikit-learn."""
    return _permuted(RandomForestRegressor(100, random_state=0), x_NK, y_N)


def trees_permutation(x_NK: Array, y_N: Array) -> Array:
    """What extremely randomised trees lose where a column is permuted."""
    return _permuted(ExtraTreesRegressor(100, random_state=0), x_NK, y_N)


def gp_scales(x_NK: Array, y_N: Array) -> Array:
    """Inverse length scales of a Gaussian process."""
    model = _process(x_NK, y_N)
    return 1 / np.asarray(model.kernel_.k1.k2.length_scale)


def gp_total(x_NK: Array, y_N: Array) -> Array:
    """Total Sobol indices of the mean of a Gaussian process."""
    return _totals(_process(x_NK, y_N), x_NK.shape[1])


def gp_matern(x_NK: Array, y_N: Array) -> Array:
    """As gp_total, with a Matern kernel of 5/2."""
    return _totals(_process(x_NK, y_N, rough=True), x_NK.shape[1])


def gp_ranked(x_NK: Array, y_N: Array) -> Array:
    """As gp_total, of normal scores of the fitness."""
    return gp_total(x_NK, norm.ppf((rankdata(y_N) - 0.5) / len(y_N)))


def _totals(model: GaussianProcessRegressor, count: int) -> Array:
    found = sobol_indices(
        func=lambda x_KM: model.predict(x_KM.T), n=512, dists=[uniform()] * count, rng=np.random.default_rng(0)
    )
    return np.asarray(found.total_order).ravel()


def _process(x_NK: Array, y_N: Array, *, rough: bool = False) -> GaussianProcessRegressor:
    scales, ends = np.ones(x_NK.shape[1]), (0.05, 50.0)
    own = Matern(scales, ends, nu=2.5) if rough else RBF(scales, ends)
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * own + WhiteKernel(1e-2, (1e-6, 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(x_NK, y_N)


def _permuted(model: RandomForestRegressor | ExtraTreesRegressor, x_NK: Array, y_N: Array) -> Array:
    found = permutation_importance(model.fit(x_NK, y_N), x_NK, y_N, n_repeats=10, random_state=0)
    return np.asarray(found.importances_mean)


def _added(terms_ND: Array, found_D: Array, count: int) -> Array:
    """Variance of what each hyperparameter adds by its value and its square."""
    return np.array([(terms_ND[:, [at, at + count]] @ found_D[[at, at + count]]).var() for at in range(count)])


def _by_optuna(x_NK: Array, y_N: Array, evaluator: optuna.importance.BaseImportanceEvaluator) -> Array:
    spaces: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0, 1) for name in NAMES
    }
    with warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                optuna.create_trial(params=dict(zip(NAMES, row, strict=True)), distributions=spaces, value=value)
                for row, value in zip(x_NK.tolist(), y_N.tolist(), strict=True)
            ]
        )
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    return np.array([found[name] for name in NAMES])


def ours(x_NK: Array, y_N: Array) -> Array:
    """What `evolve.importances` says, resamples and all."""
    ranges = {
        name: [optuna.distributions.distribution_to_json(optuna.distributions.FloatDistribution(0, 1))]
        for name in NAMES
    }
    params: list[dict[str, object]] = [dict(zip(NAMES, row, strict=True)) for row in x_NK.tolist()]
    shares = dict(importances(params, y_N.tolist(), ranges).shares)
    return np.array([shares.get(name, 0.0) for name in NAMES])


ESTIMATORS: dict[str, Estimator] = {
    "ped-anova": ped_anova,
    "spearman": spearman,
    "quadratic": quadratic,
    "lasso": lasso,
    "splines": splines,
    "impurity": impurity,
    "fanova": fanova,
    "forest": forest_permutation,
    "trees": trees_permutation,
    "gp-scales": gp_scales,
    "gp-total": gp_total,
    "gp-matern": gp_matern,
    "gp-ranked": gp_ranked,
    "ours": ours,
}


def is_right(estimator: Estimator, of: Planted) -> bool:
    """Whether the three largest scores are those of the hyperparameters that matter."""
    score_K = estimator(of.x_NK, of.fitness_N)
    return {NAMES[place] for place in np.argsort(-score_K, kind="stable")[: len(MATTERING)]} == MATTERING


def _studies(
    name: str, sampler: str, case: tuple[float, float], sizes: Sequence[int], count: int
) -> tuple[list[list[Planted]], str]:
    """Studies by size, and what they are called."""
    noise, diverged = case
    whole = [
        planted(name, study, trials=max(sizes), sampler=sampler, noise=noise, diverged=diverged)
        for study in range(count)
    ]
    by_size = [[study.first(round(size * (1 - diverged))) for study in whole] for size in sizes]
    return by_size, f"{name} | {sampler} | {noise:g} | {diverged:.0%}"


def main() -> None:
    """Prints the table, a row a case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--trials", default="30,60,100")
    parser.add_argument("--functions", default="additive,interacting")
    parser.add_argument("--samplers", default="random,sobol,tpe")
    parser.add_argument("--cases", default=",".join(map(str, range(len(CASES)))), help="places in CASES")
    parser.add_argument("--only", default=",".join(name for name in ESTIMATORS if name != "ours"))
    asked = parser.parse_args()
    names, sizes = asked.only.split(","), [int(trials) for trials in asked.trials.split(",")]
    print(f"| function | trials by | noise | diverged | trials | {' | '.join(names)} |")
    print(f"|{'---|' * (5 + len(names))}", flush=True)
    spent = dict.fromkeys(names, 0.0)
    answers = 0
    for function, sampler, case in product(
        asked.functions.split(","), asked.samplers.split(","), map(int, asked.cases.split(","))
    ):
        by_size, label = _studies(function, sampler, CASES[case], sizes, asked.studies)
        for size, studies in zip(sizes, by_size, strict=True):
            shares = []
            answers += len(studies)
            for name in names:
                started = time.process_time()
                shares.append(np.mean([is_right(ESTIMATORS[name], study) for study in studies]))
                spent[name] += time.process_time() - started
            print(f"| {label} | {size} | {' | '.join(f'{share:.0%}' for share in shares)} |", flush=True)
    print(f"| CPU ms of an answer | | | | | {' | '.join(f'{1000 * spent[name] / answers:.0f}' for name in names)} |")


if __name__ == "__main__":
    main()
