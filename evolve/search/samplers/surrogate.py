"""What two Gaussian processes expect of points that nobody has tried; beside the bridge the one module with torch.

One process is of the fitness, the other of the margin to divergence. Letters of shapes: N trials that ended, M that
run, C candidates, R of them refined, P columns of a point.

Source: Balandat et al. 2020, BoTorch, arXiv:1910.06403; Ament et al. 2023, Unexpected improvements to expected
improvement, arXiv:2310.20708; Hvarfner et al. 2022, piBO, arXiv:2204.11051.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.acquisition.prior_guided import PriorGuidedAcquisitionFunction
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.generation.gen import gen_candidates_scipy
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.model_list_gp_regression import ModelListGP
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Tensor, nn

from evolve.search.samplers.columns import LogPrior, Real, Seen

_DRAWS = 64  # of both processes, from which the expected improvement is estimated
_REFINED = 4  # of the candidates, by gradient
_STEPS = 40
_LEAST_VARIANCE = 1e-8


def by_promise(seen: Seen, prior: LogPrior, candidates_CP: Real, *, num_numbers: int, seed: int) -> Real:
    """Points that are most likely to be better than all before, best first: refined candidates, then the others.

    Args:
        seen: What is known of the study's trials, of which at least one has ended.
        prior: What is believed beforehand of where good points are.
        candidates_CP: Points to begin from, in columns of 0..1.
        num_numbers: How many of the columns, the first ones, are of numbers; only these are refined.
        seed: Seed of all random draws; the same seed gives the same points.

    Returns:
        Points of shape (R + C, P).
    """
    with _alone(seed):
        acquisition = _acquisition(seen, prior, seed=seed)
        start_CP = _tensor(candidates_CP).clamp(0.0, 1.0)
        with torch.no_grad():
            value_C = acquisition(start_CP.unsqueeze(1))
        start_CP = start_CP[value_C.argsort(descending=True, stable=True)]
        if not num_numbers:
            return np.asarray(start_CP)
        refined_RP = _refined(acquisition, start_CP[:_REFINED], num_numbers)
        return np.asarray(torch.cat([refined_RP, start_CP]))


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread and a generator of its own, both as they were afterwards, and no warnings: a fit may be a poor one."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _tensor(values: Real) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def _acquisition(seen: Seen, prior: LogPrior, *, seed: int) -> PriorGuidedAcquisitionFunction:
    known_NP = _tensor(seen.known_NP)
    # Where all margins are the same nothing can be learned of the edge.
    is_constrained = len(set(seen.margin_N.tolist())) > 1
    improvement = qLogNoisyExpectedImprovement(
        model=_model(known_NP, seen, is_constrained=is_constrained),
        X_baseline=known_NP,
        X_pending=_tensor(seen.running_MP) if len(seen.running_MP) else None,
        sampler=SobolQMCNormalSampler(torch.Size([_DRAWS]), seed=seed),
        objective=GenericMCObjective(_fitness_of),
        constraints=[_margin_of] if is_constrained else None,
    )
    return PriorGuidedAcquisitionFunction(
        improvement, prior_module=_PriorModule(prior), log=True, prior_exponent=prior.exponent
    )


def _fitness_of(samples: Tensor, X: Tensor | None = None) -> Tensor:  # noqa: ARG001 - as it is called
    return samples[..., 0]


def _margin_of(samples: Tensor) -> Tensor:
    return samples[..., 1]


def _model(known_NP: Tensor, seen: Seen, *, is_constrained: bool) -> SingleTaskGP | ModelListGP:
    """Independent processes, of the fitness and, where it constrains, of the margin."""
    if not is_constrained:
        return _fitted(known_NP, seen.fitness_N[:, None], seen.variance)
    if seen.variance is None:  # as a batch, which takes two thirds of the time
        return _fitted(known_NP, np.stack([seen.fitness_N, seen.margin_N], axis=1), None)
    return ModelListGP(
        _fitted(known_NP, seen.fitness_N[:, None], seen.variance), _fitted(known_NP, seen.margin_N[:, None], None)
    )


def _fitted(known_NP: Tensor, values_NV: Real, variance: float | None) -> SingleTaskGP:
    """A process of each of V columns of values."""
    values = _tensor(values_NV)
    noise = None if variance is None else torch.full_like(values, max(variance, _LEAST_VARIANCE))
    model = SingleTaskGP(known_NP, values, noise)
    try:
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    except ModelFittingError:  # then it stays as broad as it was beforehand
        model.eval()
    return model


def _refined(acquisition: PriorGuidedAcquisitionFunction, start_RP: Tensor, num_numbers: int) -> Tensor:
    """Points uphill from some candidates, best first; their choices stay."""
    fixed = {place: start_RP[:, place] for place in range(num_numbers, start_RP.shape[1])}
    points_R1P, value_R = gen_candidates_scipy(
        start_RP.unsqueeze(1),
        acquisition,
        lower_bounds=0.0,
        upper_bounds=1.0,
        fixed_features=fixed or None,
        options={"maxiter": _STEPS},
    )
    return points_R1P.detach().squeeze(1)[value_R.detach().argsort(descending=True, stable=True)]


class _PriorModule(nn.Module):
    """The prior as BoTorch asks for it."""

    def __init__(self, prior: LogPrior) -> None:
        super().__init__()
        self._centre_P, self._precision_P, self._weight_P = map(
            _tensor, (prior.centre_P, prior.precision_P, prior.weight_P)
        )

    def forward(self, X: Tensor) -> Tensor:
        """Logarithms of shape (..., q) of points of shape (..., q, P)."""
        return (-0.5 * self._precision_P * (X - self._centre_P) ** 2 + self._weight_P * X).sum(-1)
