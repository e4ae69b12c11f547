"""Each cause is named where it is provoked, in real trainings of digits and with more than one strength of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import inf, nan

import pytest
import torch

from benchmarks.causes import planted, result_of
from detector.datasets.listing import Dataset, Original, Sample, Split
from detector.hyperparameters import Hyperparameters, declarations
from detector.plan import TrainingPlan
from detector.telemetry import TERMS, LaneEnded, LossTerms, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from evolve.outcome.causes import RULES, explain
from evolve.outcome.explanations import Cause, Explanation, Remedy, causes_of, remedies_of
from evolve.outcome.forensics import Diagnosis, diagnose
from evolve.outcome.signs import Course
from tests.evolve.outcome.test_forensics import ENDED, blown_up, step
from tests.scenes import few_scenes

PLAN = TrainingPlan(image_size=64, batch_size=8, nominal_batch_size=8, epochs=3)
BASE = Hyperparameters(
    lr0=0.03, momentum=0.9, warmup_epochs=0.0, warmup_steps=10.0, box_loss="giou", clipping="none", schedule="constant"
)
# What is changed to provoke a cause, each in more than one strength.
PROVOKED = [
    (Cause.RATE, {"lr0": 5.0}),
    # So far above the edge that the loss grows whatever rounding does: its first update is many times the weights.
    (Cause.RATE, {"lr0": 1e5, "clipping": "norm"}),
    (Cause.BOX_SIZE, {"coding": "exp", "box_loss": "squared_error", "lr0": 0.5, "box": 1.0}),
    (Cause.BOX_SIZE, {"coding": "exp", "box_loss": "squared_error", "lr0": 0.3, "box": 1.2}),
    (Cause.WARMUP, {"lr0": 1.0, "warmup_steps": 0.0}),
    (Cause.WARMUP, {"lr0": 0.9, "warmup_steps": 1.0}),
    (Cause.MOMENTUM, {"lr0": 0.9, "momentum": 0.9995, "warmup_momentum": 0.9}),
    (Cause.BIAS_RATE, {"warmup_bias_lr": 300.0}),
    (Cause.BIAS_RATE, {"warmup_bias_lr": 3e4}),
    (Cause.LOSS_GAIN, {"obj": 200.0}),
    (Cause.LOSS_GAIN, {"obj": 2000.0}),
    (Cause.INITIALISATION, {"normalisation": "none", "initialiser": "normal", "init_std": 0.4}),
    (Cause.INITIALISATION, {"normalisation": "none", "initialiser": "normal", "init_std": 3.0}),
]


NO_BOX = dict.fromkeys(TERMS, (1.0, 1.0)) | {"box": (nan, 1.0)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterable[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class OddLabel:
    """A split one of whose images has, after the first epoch, a box of one value throughout."""

    whole: Split
    value: float

    def __len__(self) -> int:
        return len(self.whole)

    def sample(self, index: int, epoch: int) -> Sample:
        found = self.whole.sample(index, epoch)
        if epoch == 0 or not len(found.labels_M):
            return found
        boxes_M4 = found.boxes_M4.clone()
        boxes_M4[0] = self.value
        return Sample(image=found.image, boxes_M4=boxes_M4, labels_M=found.labels_M)

    def size(self, index: int) -> tuple[int, int]:
        return self.whole.size(index)

    def original(self, index: int) -> Original:
        return self.whole.original(index)


@cache
def scenes() -> Dataset:
    return few_scenes(train=64, val=4, test=4)


def provoked(values: Hyperparameters, data: Dataset, *, seed: int = 0) -> Diagnosis:
    steps: list[StepTelemetry] = []
    for record in Trainer(PLAN, data, [LaneSpec(values=values, seed=seed)]).fit():
        if isinstance(record, StepTelemetry):
            steps.append(record)
        if isinstance(record, LaneEnded):
            assert record.is_diverged or max(step.loss for step in steps) > 2 * steps[0].loss
            return diagnose(steps, record, values=values)
    raise AssertionError("a lane ends with a record")


@pytest.mark.parametrize(("cause", "changes"), PROVOKED, ids=lambda each: each if isinstance(each, Cause) else None)
def test_a_cause_that_was_provoked_is_named_and_its_knob_turned_back(cause: Cause, changes: dict[str, object]) -> None:
    values = replace(BASE, **changes)  # type: ignore[arg-type]

    found = provoked(values, scenes()).causes[0]

    assert found.cause is cause
    assert found.evidence
    assert {remedy.name for remedy in found.remedies} & changes.keys()
    for remedy in found.remedies:
        declarations()[remedy.name].check(remedy.value)
        assert remedy.value != getattr(values, remedy.name)


@pytest.mark.parametrize("value", [nan, inf])
def test_a_label_that_is_no_number_is_told_from_weights_that_are_none(value: float) -> None:
    data = replace(scenes(), train=OddLabel(scenes().train, value))

    found = provoked(BASE, data).causes

    assert found[0].cause is Cause.BAD_LABEL
    assert found[0].remedies == ()  # no hyperparameter mends it


@pytest.mark.parametrize(("norm", "clipping"), [(60.0, "none"), (900.0, "norm")])
def test_a_batch_far_above_all_before_is_a_spike_and_its_gradient_is_to_be_clipped(norm: float, clipping: str) -> None:
    quiet = [step(number, grad_norm=2.0 + number % 3) for number in range(30)]
    burst = step(30, grad_norm=norm, update_ratio=0.6, loss=9.0)
    after = [step(31, loss=nan, grad_norm=nan, update_ratio=nan, terms=LossTerms(**dict.fromkeys(TERMS, (nan, nan))))]

    found = explained([*quiet, burst, *after], replace(BASE, clipping=clipping, clip_norm=1000.0))

    assert found[0].cause is Cause.SPIKE
    assert {remedy.name: remedy.value for remedy in found[0].remedies}["clip_norm"] == 6.0


def test_a_spike_is_named_before_the_overflow_that_it_leads_to_and_after_a_large_update_that_passed() -> None:
    early = [step(number, grad_norm=15.0, update_ratio=0.25 if number == 1 else 0.1) for number in range(12)]
    burst = step(12, grad_norm=96.0, update_ratio=0.7, loss=2.0)
    after = [step(13 + number, grad_norm=20.0, update_ratio=0.1) for number in range(5)]
    end = step(18, grad_norm=nan, update_ratio=nan, max_box_logit=1e12, terms=LossTerms(**NO_BOX))

    found = explained([*early, burst, *after, end], replace(BASE, coding="exp", warmup_steps=20.0))

    assert [each.cause for each in found][:2] == [Cause.SPIKE, Cause.BOX_SIZE]
    assert found[0].evidence["at step"] == 12


@pytest.mark.parametrize(("between", "causes"), [(10, True), (30, False)])
def test_a_spike_counts_if_the_end_follows_it_whatever_passed_long_before(between: int, causes: bool) -> None:
    steps = [step(number, grad_norm=15.0) for number in range(100)]
    for number in (20, 60):
        steps[number] = step(number, grad_norm=96.0, update_ratio=0.7, loss=2.0)
    end = step(61 + between, grad_norm=nan, update_ratio=nan, terms=LossTerms(**NO_BOX))

    found = {each.cause: each.evidence for each in explained([*steps[: 61 + between], end], BASE)}

    assert (Cause.SPIKE in found) is causes
    assert not causes or found[Cause.SPIKE]["at step"] == 60


@pytest.mark.parametrize(
    "changes",
    [{"loss": 1.2}, {"max_box_logit": 40.0}, {"grad_norm": 30.0}],
    ids=["its loss is usual", "its outputs had grown", "its gradient is twice the usual"],
)
def test_a_batch_that_does_not_stand_out_is_no_spike(changes: dict[str, float]) -> None:
    quiet = [step(number, grad_norm=15.0) for number in range(12)]
    burst = step(12, **({"grad_norm": 96.0, "update_ratio": 0.7, "loss": 2.0} | changes))
    end = step(13, grad_norm=nan, update_ratio=nan, terms=LossTerms(**NO_BOX))

    assert Cause.SPIKE not in [each.cause for each in explained([*quiet, burst, end], BASE)]


def test_a_crowd_of_labels_in_one_batch_is_a_spike_and_its_remedy_cures() -> None:
    faults = [fault for seed in (2, 10) if (fault := planted(Cause.SPIKE, seed)) is not None]

    results = [result_of(fault) for fault in faults]

    assert Cause.SPIKE in [result.found[0] for result in results]
    assert all(result.is_cured for result in results if result.found[0] == Cause.SPIKE)


@pytest.mark.parametrize("rising", [0.85, 0.93])
def test_momentum_that_still_rises_at_the_first_sign_is_named_and_a_high_rate_lowered_with_it(rising: float) -> None:
    steps = [step(number, momentum=rising + number / 200, in_warmup=True, update_ratio=0.1) for number in range(10)]
    steps += [step(10 + number, momentum=0.999, update_ratio=3.0, loss=30.0) for number in range(10)]
    steps[2] = step(2, momentum=rising, in_warmup=True, update_ratio=0.3)

    found = explained(steps, replace(BASE, momentum=0.999, lr0=0.5))

    assert found[0].cause is Cause.MOMENTUM
    assert {remedy.name: remedy.value for remedy in found[0].remedies} == {"momentum": 0.9, "lr0": 0.1}


def test_what_grows_step_by_step_is_no_spike() -> None:
    growing = [step(number, grad_norm=2.0 * 1.3**number, update_ratio=0.01 * 1.3**number) for number in range(20)]

    assert Cause.SPIKE not in [each.cause for each in explained(growing, BASE)]


@pytest.mark.parametrize("skipped", [2, 14])
def test_an_overflow_of_half_precision_is_only_one_in_half_precision(skipped: int) -> None:
    steps = [step(number) for number in range(20)] + [step(20 + number, grad_norm=inf) for number in range(skipped)]

    assert explained(steps, BASE, "float16")[0].cause is Cause.HALF_PRECISION
    assert explained(steps, BASE, "float16")[0].remedies[0].setting == "precision=float32"
    assert Cause.HALF_PRECISION not in [each.cause for each in explained(steps, BASE, "float32")]


def test_where_nothing_stands_out_the_cause_is_unknown_and_the_remedy_says_that_it_is_a_guess() -> None:
    broken = LossTerms(**dict.fromkeys(TERMS, (nan, nan)))
    steps = [*(step(number) for number in range(30)), step(30, loss=nan, grad_norm=nan, terms=broken)]

    (found,) = explained(steps, BASE)

    assert found.cause is Cause.UNKNOWN
    assert found.remedies[0].text == "lower lr0 from 0.03 to 0.003 (a guess: a lower rate helps most often)"


def test_the_limit_of_the_rate_is_where_an_update_would_have_been_a_fifth_of_the_weights() -> None:
    values = replace(BASE, lr0=3.2)

    found = explained(blown_up()[:-1], values)[0]

    assert found.cause is Cause.RATE
    assert found.evidence["stable limit about"] == pytest.approx(3.2 * 0.2 / 1.28)
    assert found.remedies[0].value == pytest.approx(3.2 * 0.05 / 1.28)


def test_causes_are_stored_with_a_diagnosis_and_those_before_them_are_read_without() -> None:
    diagnosis = diagnose(blown_up(), ENDED, values=replace(BASE, lr0=3.2))
    again = Diagnosis.from_json(diagnosis.to_json())

    assert again == diagnosis
    assert again.causes[0].remedies[0].before == 3.2
    assert "cause: learning rate above the stable limit; try lr0=" in diagnosis.summary
    assert any(sentence.startswith("Most likely cause: learning rate above") for sentence in diagnosis.sentences)
    assert diagnose(blown_up(), ENDED).causes == ()
    assert causes_of({"step": 3}) == causes_of({"causes": [{"cause": "moon"}]}) == ()
    assert remedies_of({}) == ()


def test_every_cause_has_a_rule_and_words() -> None:
    assert {*RULES, Cause.UNKNOWN} == set(Cause)
    assert all(cause.text for cause in Cause)
    assert all(rule.__doc__ for rule in RULES.values())


@pytest.mark.parametrize(
    ("remedy", "text"),
    [
        (Remedy(name="lr0", before=1.0, value=0.25, why="x"), "lower lr0 from 1 to 0.25 (x)"),
        (Remedy(name="warmup_steps", before=0.0, value=100.0, why="x"), "raise warmup_steps from 0 to 100 (x)"),
        (Remedy(name="coding", before="exp", value="bounded", why="x"), "set coding from exp to bounded (x)"),
    ],
)
def test_a_remedy_says_knob_direction_and_value(remedy: Remedy, text: str) -> None:
    assert remedy.text == text


def explained(
    steps: list[StepTelemetry], values: Hyperparameters, precision: str = "float32"
) -> tuple[Explanation, ...]:
    return explain(Course(steps=steps, values=values, precision=precision))
