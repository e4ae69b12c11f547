"""A short campaign of faults against Ray's engine; the long one is `python -m benchmarks.faults --fake --ray`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import STORED, Setting
from tests.faults.test_faults import assert_nothing_is_lost

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def test_a_study_on_ray_whose_driver_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path: Path) -> None:
    setting = Setting(sampler="tpe", pruner="asha", workers=1, engine="ray", is_real=False)

    assert_nothing_is_lost(tmp_path, setting, seed=11, calls=STORED, most=3)
