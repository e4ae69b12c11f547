"""Matrices whose directions are made alike, by either way to them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.directions import all_directions_alike, by_eigenvectors, by_products

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def random(shape: tuple[int, int], seed: int, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=30, deadline=None)  # products in bfloat16 take what they take
@given(shape=SHAPES, seed=st.integers(0, 1000))
def test_both_ways_come_to_the_same(shape: tuple[int, int], seed: int) -> None:
    wide = random((min(shape), max(shape)), seed, dtype=torch.float64)
    wide = wide / wide.norm()

    found = by_eigenvectors(wide)

    assert torch.allclose(by_products(wide), found, atol=1e-6)
    assert torch.allclose(by_eigenvectors(wide.float()).double(), found, atol=1e-3)
    assert torch.allclose(by_products(wide.bfloat16()).double(), found, atol=0.1)


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 1000), size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_singular_vectors_stay_and_singular_values_become_about_one_whatever_the_size(
    shape: tuple[int, int], seed: int, size: float
) -> None:
    matrix = random(shape, seed, dtype=torch.float64) * size
    left, before, right = torch.linalg.svd(matrix, full_matrices=False)

    inside = left.T @ all_directions_alike(matrix) @ right.T

    sizes = inside.diagonal()
    assert torch.allclose(inside, sizes.diag(), atol=1e-6)
    assert sizes.max() < 1.21
    assert sizes[before > 0.002 * before.norm()].min() > 0.68
    assert (sizes >= 0).all()


def test_it_is_what_torch_moves_a_matrix_by() -> None:
    matrix, weight = random((6, 20), 0), torch.nn.Parameter(torch.zeros(6, 20))
    weight.grad = matrix
    torch.optim.Muon([weight], lr=1.0, momentum=0.0, weight_decay=0.0).step()

    found = all_directions_alike(matrix)

    assert torch.allclose(found, -weight, atol=0.03)
    assert torch.nn.functional.cosine_similarity(found.flatten(), -weight.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_hidden(bad: float) -> None:
    matrix = random((4, 9), 0)
    matrix[1, 2] = bad

    assert all_directions_alike(matrix).isnan().all()
    assert by_products(matrix).isnan().any()


def test_nothing_stays_nothing() -> None:
    assert torch.equal(all_directions_alike(torch.zeros(3, 5)), torch.zeros(3, 5))
