"""The loop: lanes equal separate runs, a NaN stays in its lane, a resumed training is the one that was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch

from detector import checkpoint, population
from detector.checkpoint import CheckpointError, Found
from detector.hyperparameters import Hyperparameters
from detector.observations import PicturesTaken
from detector.plan import TrainingPlan
from detector.telemetry import CheckpointSaved, EndCause, EpochMetrics, LaneEnded, LaneStarted, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

PLAN = TrainingPlan(model="yolov3-tiny-compact", image_size=64, batch_size=4, nominal_batch_size=4, epochs=2)
EXACT = replace(PLAN, precision="float64")
# Everything that may differ between lanes does.
DIFFERENT = [
    Hyperparameters(lr0=0.01, momentum=0.9, box=1.0, warmup_epochs=0.5, schedule="linear", weight_decay=0.0),
    Hyperparameters(
        lr0=0.03, momentum=0.8, obj=2.0, warmup_epochs=0.0, schedule="cosine", nesterov=False, anchor_warmup=4
    ),
    Hyperparameters(
        lr0=0.002,
        momentum=0.97,
        noobj=0.5,
        lrf=0.5,
        schedule="steps",
        clip_norm=1.0,
        ignore_iou=0.4,
        label_smoothing=0.1,
        anchor_warmup=2,
        anchor_gain=0.2,
    ),
    Hyperparameters(
        lr0=0.05, momentum=0.0, cls=2.0, ema_decay=0.5, warmup_bias_lr=0.01, clip_norm=0.0, class_weights=0.5
    ),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterable[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(values: Sequence[Hyperparameters], plan: TrainingPlan = PLAN, **options: object) -> Trainer:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    lanes = [LaneSpec(values=each, seed=number, **options) for number, each in enumerate(values)]
    return Trainer(plan, data, lanes)


def going_on(lane: LaneSpec) -> LaneSpec:
    """The same lane from its checkpoint."""
    assert lane.checkpoint is not None
    return replace(lane, start=Found(checkpoint=checkpoint.load(lane.checkpoint)))


def without_times(records: Iterable[Telemetry], lane: int | None = None) -> list[Telemetry]:
    """Records, of one lane if asked, without what a clock says and renumbered as lane 0."""
    kept = []
    for record in records:
        if lane is not None and record.lane != lane:
            continue
        changes: dict[str, object] = {"lane": 0}
        if isinstance(record, StepTelemetry):
            changes |= {"seconds": 0.0, "images_per_second": 0.0}
        if isinstance(record, EpochMetrics):
            changes |= {"seconds": 0.0}
        kept.append(replace(record, **changes))
    return kept


def steps(records: Iterable[Telemetry], lane: int = 0) -> list[StepTelemetry]:
    return [each for each in records if isinstance(each, StepTelemetry) and each.lane == lane]


def assert_close(first: Iterable[Telemetry], second: Iterable[Telemetry]) -> None:
    """Same records; numbers equal but for the last bits, which grouped kernels may add up in another order."""
    first, second = list(first), list(second)
    assert [type(each) for each in first] == [type(each) for each in second]
    for mine, other in zip(first, second, strict=True):
        if isinstance(mine, StepTelemetry) and isinstance(other, StepTelemetry):
            assert mine.step == other.step
            for name in ("loss", "grad_norm", "update_ratio", "lr", "bias_lr", "momentum", "max_box_logit"):
                assert getattr(mine, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-12), name
            assert mine.terms.sums() == pytest.approx(other.terms.sums(), rel=1e-9, abs=1e-12)
        elif isinstance(mine, EpochMetrics) and isinstance(other, EpochMetrics):
            assert mine.losses == pytest.approx(other.losses, rel=1e-8)
            assert mine.map50 == pytest.approx(other.map50, abs=1e-6)


def single(values: Hyperparameters, seed: int, plan: TrainingPlan) -> list[Telemetry]:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    return list(Trainer(plan, data, [LaneSpec(values=values, seed=seed)]).fit())


def test_four_lanes_train_as_four_separate_runs_do() -> None:
    together = list(trainer(DIFFERENT, EXACT).fit())

    for lane, values in enumerate(DIFFERENT):
        assert_close(without_times(together, lane), without_times(single(values, lane, EXACT)))


def test_a_lane_driven_to_nan_ends_and_its_neighbours_go_on_as_if_it_had_never_been_there() -> None:
    unbounded = [replace(values, coding="exp") for values in DIFFERENT]
    values = [unbounded[0], replace(unbounded[1], lr0=1e6, clip_norm=0.0), *unbounded[2:]]

    together = list(trainer(values, EXACT).fit())

    last = [each for each in together if each.lane == 1]
    assert isinstance(last[-1], LaneEnded) and last[-1].is_diverged
    assert isinstance(last[-2], StepTelemetry) and not last[-2].is_finite
    assert last[-2].step < 5
    for lane in (0, 2, 3):
        assert_close(without_times(together, lane), without_times(single(values[lane], lane, EXACT)))


def test_a_step_that_is_not_finite_is_not_taken() -> None:
    run = trainer([replace(DIFFERENT[0], lr0=1e6, clip_norm=0.0, warmup_epochs=0.0)])
    weights = {}

    for record in run.fit():
        if isinstance(record, StepTelemetry) and not record.is_finite:
            weights = run._population.lane_state(0)[0]
        if isinstance(record, LaneEnded):
            after = run._population.lane_state(0)[0]
            assert record.is_diverged
            assert all(torch.equal(weights[name], after[name]) for name in weights if "running" not in name)
    assert weights


def test_the_terms_logged_add_up_to_the_loss_that_is_optimised() -> None:
    for step in steps(trainer(DIFFERENT[:2], EXACT).fit(), lane=1):
        assert step.terms.total == pytest.approx(step.loss, rel=1e-12)
        assert step.loss > 0


def test_the_update_ratio_is_that_of_the_update_about_to_be_made() -> None:
    run = trainer([replace(DIFFERENT[1], nesterov=True, weight_decay=0.01, clip_norm=1.0, warmup_epochs=0.7)], EXACT)
    parameters = [name for name, _ in run._population._network.named_parameters()]
    ratios, weights = [], []

    for record in run.fit():
        if isinstance(record, StepTelemetry):
            state = run._population.lane_state(0)[0]
            ratios.append(record.update_ratio)
            weights.append(torch.cat([state[name].flatten() for name in parameters]))

    assert len(ratios) == 6
    for ratio, before, after in zip(ratios, weights, weights[1:], strict=False):
        assert ratio == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup_epochs": 1.5},
        {"schedule": "plateau", "plateau_patience": 0.0, "plateau_threshold": 0.9},
        {"clipping": "adaptive", "clip_warmup": 2.0, "clip_z": 0.0},
    ],
)
def test_resuming_continues_to_the_last_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    values = replace(DIFFERENT[0], **changes)
    plan = replace(PLAN, epochs=4)
    data = few_scenes("digits-3", train=12, val=4, test=4)
    lane = LaneSpec(values=values, seed=3, checkpoint=tmp_path / "lane.pt")
    straight = list(Trainer(plan, data, [replace(lane, checkpoint=tmp_path / "other.pt")]).fit())
    stopped: list[Telemetry] = []
    for record in Trainer(plan, data, [lane]).fit():
        stopped.append(record)
        if isinstance(record, StepTelemetry) and record.step == 7:  # in the third epoch
            break

    resumed = list(Trainer(plan, data, [going_on(lane)]).fit())

    assert isinstance(resumed[0], LaneStarted) and (resumed[0].epoch, resumed[0].step) == (2, 6)
    once = LaneStarted | CheckpointSaved | PicturesTaken
    rest = [each for each in straight if not isinstance(each, once)]
    kept = [each for each in stopped if not isinstance(each, once) and each.epoch < 2]
    again = [each for each in resumed if not isinstance(each, once)]
    assert without_times([*kept, *again]) == without_times(rest)
    final, other = checkpoint.load(tmp_path / "lane.pt"), checkpoint.load(tmp_path / "other.pt")
    assert all(torch.equal(final.weights[name], other.weights[name]) for name in other.weights)
    assert all(torch.equal(final.averaged_weights[name], other.averaged_weights[name]) for name in other.weights)


def test_the_rate_on_a_plateau_waits_for_whole_epochs_alone() -> None:
    values = replace(DIFFERENT[0], schedule="plateau", plateau_patience=0.0, plateau_threshold=1.0, warmup_epochs=0.0)
    asked, other = trainer([values]), trainer([values])

    asked.evaluate_once()
    found = steps(asked.fit())

    assert [each.lr for each in found] == pytest.approx([0.01] * 3 + [0.001] * 3)
    assert without_times(found) == without_times(steps(other.fit()))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lane.pt"
    list(trainer([DIFFERENT[0]], replace(PLAN, epochs=1), checkpoint=path).fit())

    with pytest.raises(CheckpointError, match=r"lr0 was 0.01, is 0.5"):
        trainer(
            [replace(DIFFERENT[0], lr0=0.5)], replace(PLAN, epochs=1), start=Found(checkpoint=checkpoint.load(path))
        )


def test_a_training_that_goes_on_after_its_last_epoch_tells_the_same_test_row(tmp_path: Path) -> None:
    lane = LaneSpec(values=DIFFERENT[0], seed=3, checkpoint=tmp_path / "lane.pt")
    data = few_scenes("digits-3", train=12, val=4, test=4)
    straight = list(Trainer(PLAN, data, [lane]).fit())

    resumed = list(Trainer(PLAN, data, [going_on(lane)]).fit())

    (told,) = [each for each in resumed if isinstance(each, EpochMetrics)]
    assert without_times([told]) == without_times([each for each in straight if isinstance(each, EpochMetrics)][-1:])
    assert told.split == "test" and sum(told.train_losses.values()) > 0


def test_a_lane_that_is_stopped_is_dropped_before_its_update_and_the_others_go_on() -> None:
    run = trainer(DIFFERENT[:2], EXACT)
    seen = []
    for record in run.fit():
        seen.append(record)
        if isinstance(record, StepTelemetry) and record.lane == 0 and record.step == 1:
            run.stop(0)

    assert [each.step for each in steps(seen, 0)] == [0, 1]
    assert_close(without_times(seen, 1), without_times(single(DIFFERENT[1], 1, EXACT)))


def test_closing_the_records_ends_the_training() -> None:
    training = trainer([DIFFERENT[0]]).fit()
    next(training)
    training.close()

    with pytest.raises(StopIteration):
        next(training)


def test_gradients_add_up_to_the_nominal_batch_before_an_update() -> None:
    run = trainer([replace(DIFFERENT[0], warmup_epochs=0.0)], replace(PLAN, nominal_batch_size=8, epochs=1))
    weights = [
        run._population.lane_state(0)[0]["blocks.0.conv.weight"]
        for record in run.fit()
        if isinstance(record, StepTelemetry | LaneEnded)
    ]

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[2], weights[3])  # what is left at the end of an epoch is used too


def test_lanes_that_disagree_on_what_they_share_are_refused() -> None:
    with pytest.raises(ValueError, match="fliplr: lanes of one population share it, but have"):
        trainer([DIFFERENT[0], replace(DIFFERENT[0], fliplr=0.1)])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_measures_in_full_precision(precision: str) -> None:
    records = list(trainer(DIFFERENT[:1], replace(PLAN, precision=precision, epochs=1)).fit())

    assert all(isfinite(each.loss) for each in steps(records))
    assert isinstance(records[-1], LaneEnded) and not records[-1].is_diverged


def test_an_overflow_of_the_loss_scale_skips_the_step_and_halves_the_scale_without_ending_the_lane() -> None:
    run = trainer(DIFFERENT[:1], replace(PLAN, precision="float16", epochs=1))
    run._population._optimizers.set_loss_scale(0, 2.0**60)
    records = list(run.fit())

    assert not steps(records)[0].is_finite
    assert run._population._optimizers.loss_scale(0) < 2.0**60
    assert isinstance(records[-1], LaneEnded) and not records[-1].is_diverged


def test_a_loss_that_is_no_number_ends_a_lane_in_half_precision_as_in_single() -> None:
    ends = []
    for precision in ("float16", "float32"):
        run = trainer(DIFFERENT[:1], replace(PLAN, precision=precision, epochs=1))
        run._population._network.lane_state(0)["blocks.0.conv.weight"].fill_(float("nan"))
        ends.append(list(run.fit())[-1])

    assert ends[0] == ends[1]
    assert isinstance(ends[0], LaneEnded) and ends[0].is_diverged
    assert (ends[0].step, ends[0].reason) == (0, "box and obj and noobj and cls loss is not finite")


def test_the_loss_scale_of_a_resumed_lane_grows_at_the_step_at_which_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "SCALE_GROWTH_STEPS", 4)  # an epoch has three
    monkeypatch.setattr(population, "FIRST_LOSS_SCALE", 64.0)  # far from an overflow
    plan, data = replace(PLAN, precision="float16"), few_scenes("digits-3", train=12, val=4, test=4)
    lane = LaneSpec(values=DIFFERENT[0], checkpoint=tmp_path / "lane.pt")
    list(Trainer(plan, data, [lane]).fit())
    straight = checkpoint.load(tmp_path / "lane.pt")
    first = checkpoint.load(checkpoint.before_path(tmp_path / "lane.pt"))
    from_older = replace(first, optimizer={k: v for k, v in first.optimizer.items() if k != "good_steps"})

    scales = []
    for start in (first, from_older):
        list(Trainer(plan, data, [replace(lane, start=Found(checkpoint=start))]).fit())
        scales.append(checkpoint.load(tmp_path / "lane.pt").optimizer["loss_scale"])

    assert [stored.optimizer["loss_scale"] for stored in (first, straight)] == [64, 128]
    assert scales == [128, 64]


def test_training_on_digits_learns() -> None:
    data = few_scenes(train=64, val=16)
    values = Hyperparameters(lr0=0.02, box=2.0, assign_iou=0.3, warmup_epochs=0.5, warmup_bias_lr=0.02)
    plan = replace(PLAN, epochs=5, batch_size=16, nominal_batch_size=16)

    metrics = [e for e in Trainer(plan, data, [LaneSpec(values=values)]).fit() if isinstance(e, EpochMetrics)]

    val = [each for each in metrics if each.split == "val"]
    assert sum(val[-1].train_losses.values()) < 0.9 * sum(val[0].train_losses.values())
    assert [each.split for each in metrics] == ["val"] * 5 + ["test"]


def test_a_lane_that_joins_later_trains_as_if_it_had_trained_alone() -> None:
    run = trainer(DIFFERENT[:2], EXACT)
    records = [*run.train_epoch(), *run.settle()]

    late = run.admit(LaneSpec(values=DIFFERENT[2], seed=2))
    records += run.fit()

    assert late == 2
    for lane, values in enumerate(DIFFERENT[:3]):
        assert_close(without_times(records, lane), without_times(single(values, lane, EXACT)))


@pytest.mark.parametrize("multi_scale", [0.0, 0.5])
def test_lanes_with_seeds_of_their_own_for_the_data_train_as_separate_runs_do(multi_scale: float) -> None:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    different = [replace(values, multi_scale=multi_scale) for values in DIFFERENT[:3]]
    lanes = [LaneSpec(values=values, seed=seed, data_seed=seed) for seed, values in enumerate(different)]
    together = list(Trainer(EXACT, data, lanes).fit())

    for seed, values in enumerate(different):
        assert_close(without_times(together, seed), without_times(single(values, seed, replace(EXACT, data_seed=seed))))


def test_a_lane_that_is_no_number_spares_lanes_whose_images_have_another_size() -> None:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    different = [replace(values, multi_scale=0.5) for values in DIFFERENT[:3]]
    lanes = [LaneSpec(values=values, seed=seed, data_seed=seed) for seed, values in enumerate(different)]
    together = Trainer(EXACT, data, lanes)
    together._population._network.lane_state(1)["blocks.0.conv.weight"].fill_(float("nan"))

    records = list(together.fit())

    assert [each.lane for each in records if isinstance(each, LaneEnded) and each.is_diverged] == [1]
    for seed in (0, 2):
        expected = single(different[seed], seed, replace(EXACT, data_seed=seed))
        assert_close(without_times(records, seed), without_times(expected))


def test_a_training_whose_sizes_vary_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    values = replace(DIFFERENT[0], multi_scale=0.5)
    lane = LaneSpec(values=values, checkpoint=tmp_path / "lane.pt")
    first = Trainer(EXACT, few_scenes("digits-3", train=12, val=4, test=4), [lane])
    begun = [*first.train_epoch(), *first.settle()]
    later = list(Trainer(EXACT, few_scenes("digits-3", train=12, val=4, test=4), [going_on(lane)]).fit())

    steps = [each.loss for each in [*begun, *later] if isinstance(each, StepTelemetry)]
    assert steps == [each.loss for each in single(values, 0, EXACT) if isinstance(each, StepTelemetry)]


def test_lanes_of_different_epochs_go_on_together(tmp_path: Path) -> None:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    lane = LaneSpec(values=DIFFERENT[0], checkpoint=tmp_path / "lane.pt")
    first = Trainer(EXACT, data, [lane])
    begun = [*first.train_epoch(), *first.settle()]
    together = list(Trainer(EXACT, data, [going_on(lane), LaneSpec(values=DIFFERENT[1], seed=1)]).fit())

    straight = without_times(single(DIFFERENT[0], 0, EXACT))
    kept = [each for each in without_times([*begun, *together], 0) if isinstance(each, StepTelemetry | EpochMetrics)]
    assert_close(kept, [each for each in straight if isinstance(each, StepTelemetry | EpochMetrics)])
    assert_close(without_times(together, 1), without_times(single(DIFFERENT[1], 1, EXACT)))


def test_a_lane_stopped_after_an_epoch_ends_before_it_is_saved_and_says_why(tmp_path: Path) -> None:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    lanes = [LaneSpec(values=values, seed=n, checkpoint=tmp_path / f"{n}.pt") for n, values in enumerate(DIFFERENT[:2])]
    run = Trainer(EXACT, data, lanes)
    list(run.train_epoch())

    run.stop(0, "behind the others")
    settled = list(run.settle())

    assert settled[0] == LaneEnded(lane=0, step=3, cause=EndCause.STOPPED, reason="behind the others")
    assert [each.lane for each in settled if isinstance(each, CheckpointSaved)] == [1]
    assert not (tmp_path / "0.pt").exists()


def test_the_time_of_a_step_is_divided_among_the_lanes() -> None:
    ticks = iter(range(1_000_000))
    data = few_scenes("digits-3", train=12, val=4, test=4)
    lanes = [LaneSpec(values=values, seed=n) for n, values in enumerate(DIFFERENT)]
    records = list(Trainer(EXACT, data, lanes, clock=lambda: float(next(ticks))).fit())

    first = [each for each in records if isinstance(each, StepTelemetry) and each.step == 0]
    epochs = [each for each in records if isinstance(each, EpochMetrics) and each.split == "val" and each.epoch == 0]
    assert sum(each.seconds for each in first) == pytest.approx(1)
    assert first[0].images_per_second == pytest.approx(PLAN.batch_size)
    # Three steps and one evaluation a lane, each of one tick.
    assert [each.seconds for each in epochs] == pytest.approx([3 / 4 + 1] * 4)
