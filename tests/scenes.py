"""Small real data for tests: a few scenes of handwritten digits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from detector.datasets.digits import CLASS_NAMES, DigitScenes, DigitSettings, open_digits
from detector.datasets.listing import Dataset


@cache  # scenes are functions of their number, and what they are drawn from takes longer than most trainings here
def few_scenes(source: str = "digits-1", *, train: int = 32, val: int = 8, test: int = 8) -> Dataset:
    """The digits data set with this many scenes of 64 pixels in each split."""

    def scenes(part: str, count: int) -> DigitScenes:
        names = CLASS_NAMES[source]
        return DigitScenes(DigitSettings(split=part, names=names, image_size=64, seed=0, num_scenes=count))

    whole = open_digits(source, image_size=64)
    return replace(whole, train=scenes("train", train), val=scenes("val", val), test=scenes("test", test))
