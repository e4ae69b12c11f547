"""A matrix with all of its singular values made about 1: by products on an accelerator, by eigenvectors on a CPU.

Letters of shapes: O and I the sizes of a matrix, M the smaller and N the larger of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A singular value s becomes a s + b s^3 + c s^5, five times over, which brings all from 0.002 to 1 to 0.68..1.21.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_TIMES = 5
_EPS = 1e-7  # least norm that a matrix is divided by


def all_directions_alike(matrix: Tensor) -> Tensor:
    """A matrix (O, I) of float32 or float64 with the same singular vectors, and with singular values of about 1.

    One that holds what is no number comes back as NaN all over. Very small singular values, below 0.002 of the root of
    the sum of all their squares, come out smaller than that.

    Source: Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks (the quintic); torch.optim.Muon.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    wide_MN = (matrix.T if is_tall else matrix) / matrix.norm().clamp(min=_EPS)
    found_MN = by_products(wide_MN.to(_fast(matrix))).to(matrix.dtype) if matrix.is_cuda else by_eigenvectors(wide_MN)
    return found_MN.T if is_tall else found_MN


def _fast(matrix: Tensor) -> torch.dtype:
    """The type in which a CUDA device multiplies fast: bfloat16 for float32 from compute capability 8.0 on."""
    is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if matrix.dtype == torch.float32 and is_native else matrix.dtype


def by_products(matrix_MN: Tensor) -> Tensor:
    """The quintic by its products with the matrix's own square, in the matrix's own type: fast on an accelerator.

    Args:
        matrix_MN: A matrix with singular values of at most 1.
    """
    for _ in range(_TIMES):
        square_MM = matrix_MN @ matrix_MN.T
        step_MM = torch.addmm(square_MM, square_MM, square_MM, beta=_B, alpha=_C)
        matrix_MN = torch.addmm(matrix_MN, step_MM, matrix_MN, beta=_A)
    return matrix_MN


def by_eigenvectors(matrix_MN: Tensor) -> Tensor:
    """The same by the eigenvectors of the matrix's square: fewer products, and none in bfloat16.

    That is for CPUs: one without bfloat16 takes fifty to a hundred times as long for such products (benchmarks).

    Args:
        matrix_MN: A matrix with singular values of at most 1; NaN comes of what holds NaN.
    """
    square_MM = matrix_MN @ matrix_MN.T
    if not square_MM.isfinite().all():  # which torch.linalg.eigh refuses; a CPU does not have to wait for this answer
        return torch.full_like(matrix_MN, torch.nan)
    square_M, vectors_MM = torch.linalg.eigh(square_MM)
    square_M = square_M.clamp(min=0.0)  # by rounding some are below
    factor_M = torch.ones_like(square_M)
    for _ in range(_TIMES):
        step_M = _A + _B * square_M + _C * square_M**2
        factor_M, square_M = factor_M * step_M, square_M * step_M**2
    found_MN: Tensor = (vectors_MM * factor_M) @ vectors_MM.T @ matrix_MN
    return found_MN
