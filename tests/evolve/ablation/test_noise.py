"""Shares of variance of crossed runs, against what the values were made of."""

from __future__ import annotations

import numpy as np
import pytest

from evolve.ablation.noise import noise_shares

DEVIATIONS = (0.02, 0.01, 0.03, 0.015)


def crossed(rng: np.random.Generator, deviations: tuple[float, ...], levels: int = 3) -> np.ndarray:
    """Values of a crossed run with random levels of known spread."""
    *mains, rest = deviations
    values = rng.normal(0.5, rest, (levels,) * len(mains))
    for axis, deviation in enumerate(mains):
        values = values + np.moveaxis(rng.normal(0, deviation, (levels,) + (1,) * (len(mains) - 1)), 0, axis)
    return values


def test_many_levels_give_back_what_the_values_were_made_of():
    found = noise_shares(crossed(np.random.default_rng(0), DEVIATIONS, levels=60))

    assert [share.source for share in found.shares] == ["initialisation", "order", "split", "rest"]
    assert [share.deviation for share in found.shares] == pytest.approx(DEVIATIONS, rel=0.25)
    assert sum(share.share for share in found.shares) == pytest.approx(1)
    assert found.deviation**2 == pytest.approx(sum(share.deviation**2 for share in found.shares))


def test_equal_trainings_differ_by_less_than_the_floor_in_95_of_100_cases():
    rng = np.random.default_rng(1)
    found = noise_shares(crossed(rng, (0.0, 0.0, 0.0, 0.02), levels=20))
    gaps = rng.normal(0, 0.02, 20_000) - rng.normal(0, 0.02, 20_000)

    assert np.mean(np.abs(gaps) < found.floor) == pytest.approx(0.95, abs=0.01)


def test_intervals_of_three_levels_cover_the_true_shares():
    rng = np.random.default_rng(2)
    true = np.array(DEVIATIONS) ** 2 / np.sum(np.square(DEVIATIONS))
    covered = np.zeros(4)
    for _ in range(100):
        found = noise_shares(crossed(rng, DEVIATIONS))
        covered += [share.low <= each <= share.high for share, each in zip(found.shares, true, strict=True)]

    assert (covered >= 90).all()


def test_the_sentence_names_the_floor_and_the_largest_source():
    found = noise_shares(crossed(np.random.default_rng(3), (0.0, 0.0, 0.1, 0.001)))

    assert f"less than {found.floor:.3f} cannot be told apart; most of that comes of split (100%, 9" in found.sentence


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 3)), "shape"),
        (np.zeros((3, 3, 1)), "an axis each, of 2 or more"),
        (np.full((3, 3, 3), np.nan), "27 of 27 values are not finite"),
        (np.full((3, 3, 3), 0.5), "no variance"),
    ],
)
def test_what_is_no_crossed_run_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        noise_shares(values)
