"""What only a CUDA device can show; skipped without one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest
import torch

from detector import checkpoint
from detector.ahead import BatchesAhead
from detector.augment import without_augmentation
from detector.batches import TrainingOrder, training_batches
from detector.checkpoint import Found
from detector.directions import all_directions_alike
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, LaneEnded, LaneStarted, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
PLAN = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=2, device="cuda")
VALUES = [Hyperparameters(lr0=0.01), Hyperparameters(lr0=0.003, momentum=0.8, schedule="cosine")]


def losses(plan: TrainingPlan, values: list[Hyperparameters], seeds: list[int], lane: int = 0) -> list[float]:
    lanes = [LaneSpec(values=each, seed=seed) for each, seed in zip(values, seeds, strict=True)]
    records = Trainer(plan, few_scenes(train=16, val=4, test=4), lanes).fit()
    return [each.loss for each in records if isinstance(each, StepTelemetry) and each.lane == lane]


def test_lanes_train_as_separate_runs_do() -> None:
    plan = replace(PLAN, precision="float64")

    for lane in range(2):
        together = losses(plan, VALUES, [0, 1], lane)
        assert together == pytest.approx(losses(plan, [VALUES[lane]], [lane]), rel=1e-7)


def test_the_device_and_the_cpu_train_alike() -> None:
    plan = replace(PLAN, precision="float64")

    assert losses(plan, VALUES[:1], [0]) == pytest.approx(
        losses(replace(plan, device="cpu"), VALUES[:1], [0]), rel=1e-6
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_trains_to_the_end(precision: str) -> None:
    lane = LaneSpec(values=VALUES[0])
    records = list(Trainer(replace(PLAN, precision=precision), few_scenes(train=16, val=4, test=4), [lane]).fit())

    last = records[-1]
    assert isinstance(last, LaneEnded) and not last.is_diverged
    assert all(isfinite(sum(each.losses.values())) for each in records if isinstance(each, EpochMetrics))


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 0.03), (torch.float64, 1e-9)])
def test_muon_finds_the_directions_on_the_device_that_it_finds_on_the_cpu(dtype: torch.dtype, within: float) -> None:
    for shape in ((48, 300), (300, 48), (64, 64)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)

        assert torch.allclose(all_directions_alike(matrix.cuda()).cpu(), all_directions_alike(matrix), atol=within)


def test_muon_trains_on_the_device() -> None:
    found = losses(PLAN, [replace(VALUES[0], optimizer="muon")], [0])

    assert len(found) == 8 and all(map(isfinite, found))


def test_a_checkpoint_of_the_device_goes_on_there(tmp_path: Path) -> None:
    lane = LaneSpec(values=VALUES[0], checkpoint=tmp_path / "lane.pt")
    data = few_scenes(train=16, val=4, test=4)
    for record in Trainer(PLAN, data, [lane]).fit():
        if isinstance(record, StepTelemetry) and record.epoch == 1:
            break

    resumed = Trainer(PLAN, data, [replace(lane, start=Found(checkpoint=checkpoint.load(tmp_path / "lane.pt")))])

    first, *_, last = resumed.fit()
    assert isinstance(first, LaneStarted) and first.epoch == 1
    assert isinstance(last, LaneEnded)


def test_batches_made_ahead_are_pinned_and_the_same() -> None:
    order = TrainingOrder(epoch=0, seed=0, batch_size=4, image_size=64, max_boxes=3)
    batches = training_batches(few_scenes(train=8, val=4).train, order, without_augmentation(Hyperparameters()))

    with ThreadPoolExecutor(2) as threads:
        ahead = BatchesAhead(batches, threads, count=2, is_pinned=True)
        ahead.prepare()
        for batch in batches:
            pinned = ahead.take().images
            assert pinned.is_pinned()
            assert torch.equal(pinned, batch.images)
