"""What is counted of objectness is what the predictions say, over any batches."""

from __future__ import annotations

from math import isnan

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.loss import LossParts
from detector.objectness import BINS, COARSE_BINS, ObjectnessTally

SIDES = (1, 2)


def batch_of(generator: torch.Generator, images: int) -> tuple[list[torch.Tensor], LossParts]:
    shapes = [(images, 1, 3, side, side) for side in SIDES]
    parts = LossParts(
        terms_TS4=torch.zeros(1, len(SIDES), 4),
        max_box_logit_T=torch.zeros(1),
        overlaps=tuple(torch.rand(shape, generator=generator) for shape in shapes),
        is_object=tuple(torch.rand(shape, generator=generator) < 0.3 for shape in shapes),
    )
    return [torch.randn(*shape, 7, generator=generator) * 3 for shape in shapes], parts


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_counts_means_and_spreads_are_those_of_all_predictions_together(seed: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = [batch_of(generator, size) for size in sizes]
    tally = ObjectnessTally(len(SIDES), torch.device("cpu"))

    for batch in batches:
        tally.add(batch[0], batch[1].overlaps, batch[1].is_object)

    for found in tally.read():
        at = found.scale
        matched = np.concatenate([parts.is_object[at].numpy().ravel() for _, parts in batches])
        own = matched == found.is_matched
        objectness = np.concatenate([heads[at][..., 4].sigmoid().numpy().ravel() for heads, _ in batches])[own]
        overlap = np.concatenate([parts.overlaps[at].numpy().ravel() for _, parts in batches])[own]
        assert sum(found.histogram) == found.places == own.sum()
        assert found.histogram == tuple(np.histogram(objectness, bins=BINS, range=(0, 1))[0])
        if found.is_matched:
            both = np.histogram2d(objectness, overlap, bins=COARSE_BINS, range=((0, 1), (0, 1)))[0]
            assert np.array_equal(both, found.density)
        if found.places:
            expected = [objectness.mean(), objectness.std(), overlap.mean(), overlap.std()]
            measured = [found.objectness_mean, found.objectness_spread, found.iou_mean, found.iou_spread]
            np.testing.assert_allclose(measured, expected, atol=1e-5)


def test_a_prediction_that_is_no_number_leaves_the_other_group_alone() -> None:
    heads, parts = batch_of(torch.Generator().manual_seed(0), 4)
    heads[1][~parts.is_object[1]] = torch.nan
    tally = ObjectnessTally(len(SIDES), torch.device("cpu"))

    tally.add(heads, parts.overlaps, parts.is_object)

    matched, others = tally.read()[2:]
    assert matched.is_matched and 0 < matched.objectness_mean < 1
    assert isnan(others.objectness_mean) and isnan(others.objectness_spread)
