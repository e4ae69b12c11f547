"""Facts about diagnoses: where a training broke, what was seen before, and how that is put in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, isnan, nan
from statistics import median
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.hyperparameters import Hyperparameters
from detector.telemetry import EndCause, LaneEnded, LossTerms, StepTelemetry
from evolve.outcome.forensics import Diagnosis, diagnose
from evolve.outcome.signs import LOSS_JUMP, Course

ENDED = LaneEnded(lane=0, step=119, cause=EndCause.DIVERGED, reason="loss is nan")
SOUND = LossTerms(box=(0.1, 0.1), obj=(0.2, 0.2), noobj=(0.3, 0.3), cls=(0.0, 0.0))


def step(number: int, **changes: Any) -> StepTelemetry:
    values: dict[str, Any] = {
        "lane": 0,
        "step": number,
        "epoch": number // 40,
        "loss": 1.2,
        "terms": SOUND,
        "grad_norm": 2.0,
        "update_ratio": 0.01,
        "lr": 3.2,
        "bias_lr": 3.3,
        "momentum": 0.9,
        "max_box_logit": 4.0,
        "in_warmup": number < 40,
        "seconds": 0.1,
        "images_per_second": 160.0,
    }
    return StepTelemetry(**(values | changes))


def blown_up() -> list[StepTelemetry]:
    """120 steps: updates too large from step 98 on, a large gradient at 112, and an objectness that is no number."""
    steps = [step(number) for number in range(98)]
    steps += [step(number, update_ratio=0.3 + number / 100, max_box_logit=9.0) for number in range(98, 112)]
    steps.append(step(112, grad_norm=4.1e5, loss=6.0, update_ratio=2.5, max_box_logit=81.0))
    terms = replace(SOUND, obj=(nan, 0.2))
    return [*steps, step(113, loss=nan, terms=terms, grad_norm=nan, update_ratio=nan, max_box_logit=1e9)]


def test_a_term_that_is_no_number_is_named_with_its_scale_and_the_signs_before() -> None:
    diagnosis = diagnose(blown_up(), ENDED)

    assert diagnosis.summary == (
        "obj loss nan at scale 0, step 113; grad norm 4.1e+05 at step 112; lr 3.2 after warm-up; "
        "update ratio above 0.2 from step 98; "
        "box logit 1e+09: no box needs as much"
    )
    assert (diagnosis.step, diagnosis.epoch, diagnosis.term, diagnosis.scale) == (113, 2, "obj", 0)
    assert (diagnosis.lr, diagnosis.bias_lr, diagnosis.momentum) == (3.2, 3.3, 0.9)
    assert diagnosis.last_finite_loss == 6.0
    assert diagnosis.loss_growth == pytest.approx(5.0)
    assert (diagnosis.first_sign_step, diagnosis.steps_ahead) == (98, 15)
    assert (diagnosis.max_update_ratio, diagnosis.max_box_logit) == (2.5, 1e9)
    assert not diagnosis.in_warmup


def test_terms_that_broke_together_are_counted() -> None:
    terms = LossTerms(box=(nan, nan), obj=(nan, nan), noobj=(nan, nan), cls=(0.0, 0.0))

    diagnosis = diagnose([step(0), step(1, loss=nan, terms=terms, grad_norm=nan)], ENDED)

    assert diagnosis.num_terms == 6
    assert diagnosis.summary.startswith("box loss nan at scale 0 and 5 more terms, step 1; grad norm 2.0e+00 at step 0")


def test_an_infinite_term_is_named_as_such() -> None:
    broken = step(1, loss=inf, terms=replace(SOUND, cls=(0.0, inf)), grad_norm=nan)

    diagnosis = diagnose([step(0), broken], ENDED)

    assert diagnosis.summary.startswith("cls loss inf at scale 1, step 1")


def test_a_sound_loss_with_a_gradient_that_is_no_number_points_at_the_gradient() -> None:
    diagnosis = diagnose([step(0), step(1, grad_norm=inf)], ENDED)

    assert (diagnosis.term, diagnosis.scale, diagnosis.value) == ("gradient", None, inf)
    assert diagnosis.summary == "gradient inf, step 1; grad norm 2.0e+00 at step 0; lr 3.2 in warm-up"


def test_the_last_finite_loss_is_of_the_step_whose_gradient_broke() -> None:
    diagnosis = diagnose([step(0), step(1), step(2, loss=1.2e32), step(3, loss=4.8e33, grad_norm=nan)], ENDED)

    assert diagnosis.last_finite_loss == 4.8e33
    assert diagnosis.loss_growth == pytest.approx(4e33)
    assert "The last loss that was a number was 4.8e+33, 4e+33 times its start" in diagnosis.sentences[1]


def test_a_sum_that_overflows_points_at_the_loss() -> None:
    diagnosis = diagnose([step(0), step(1, loss=inf)], ENDED)

    assert diagnosis.summary.startswith("loss inf, step 1")


def test_a_training_that_broke_at_its_first_step_has_no_signs() -> None:
    diagnosis = diagnose([step(0, loss=nan, grad_norm=nan, update_ratio=nan, max_box_logit=nan)], ENDED)

    assert diagnosis.summary == "loss nan, step 0; lr 3.2 in warm-up"
    assert isnan(diagnosis.last_finite_loss)
    assert isnan(diagnosis.max_box_logit)
    assert diagnosis.first_sign_step is None
    assert diagnosis.last_finite_grad_step is None


def test_a_training_that_grew_without_breaking_is_diagnosed_at_its_end() -> None:
    last = replace(SOUND, noobj=(40.0, 3.4))

    diagnosis = diagnose([*(step(number) for number in range(5)), step(5, loss=44.4, terms=last)], ENDED)

    assert (diagnosis.step, diagnosis.term, diagnosis.scale, diagnosis.num_terms) == (5, "noobj", 0, 0)
    assert diagnosis.summary == (
        "loss grew to 37x its start by step 5, most in noobj at scale 0; grad norm 2.0e+00 at step 5; lr 3.2 in warm-up"
    )


def test_a_step_skipped_for_overflow_is_not_the_end() -> None:
    skipped = step(1, grad_norm=inf)
    steps = [step(0), skipped, step(2), step(3, grad_norm=inf), step(4, grad_norm=nan)]

    diagnosis = diagnose(steps, ENDED)

    assert (diagnosis.step, diagnosis.value) == (3, inf)
    assert diagnosis.last_finite_grad_step == 2


def test_a_training_without_steps_cannot_be_diagnosed() -> None:
    with pytest.raises(ValueError, match=r"lane 0 ended at step 119 \(loss is nan\) without a step to look at"):
        diagnose([], ENDED)


def test_a_diagnosis_is_stored_as_strict_json_and_read_again() -> None:
    first = diagnose(blown_up(), ENDED)
    at_once = diagnose([step(0, loss=-inf, grad_norm=nan, update_ratio=inf)], ENDED)

    for each in (first, at_once):
        text = each.to_json()
        assert "NaN" not in text
        assert "Infinity" not in text
        assert Diagnosis.from_json(text).to_json() == text
        assert str(Diagnosis.from_json(text)) == str(each)
        assert json.loads(text)["summary"] == each.summary


def test_a_diagnosis_knows_its_seed_and_one_stored_before_seeds_were_is_read_without() -> None:
    text = diagnose(blown_up(), ENDED, seed=2).to_json()
    older = json.loads(text)
    del older["seed"]

    assert Diagnosis.from_json(text).seed == 2
    assert Diagnosis.from_json(json.dumps(older)).seed is None
    del older["step"]
    with pytest.raises(KeyError, match="step"):
        Diagnosis.from_mapping(older)


def test_a_diagnosis_is_told_in_sentences() -> None:
    assert diagnose(blown_up(), ENDED).sentences == (
        "At step 113, in epoch 2, the obj term of the loss was nan at scale 0.",
        "The last loss that was a number was 6, 5 times its start; "
        "the last gradient norm that was one was 4.1e+05, at step 112.",
        "Warm-up was over: the learning rate was 3.2 (3.3 for biases), the momentum 0.9.",
        "The first sign was at step 98, 15 steps ahead: an update above 0.2 of the weights; "
        "the largest was 2.5 of them.",
        "A raw box output had reached 1e+09; no box needs as much.",
    )


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (step(0, loss=nan, grad_norm=nan, update_ratio=nan), "At step 0, in epoch 0, the loss was nan while each of"),
        (step(0, grad_norm=inf), "At step 0, in epoch 0, the gradient was inf while the loss was still a number."),
        (step(0, terms=replace(SOUND, noobj=(40.0, 0.1))), "No number was lost, but by step 0, in epoch 0, the loss"),
        (step(0, loss=nan, terms=replace(SOUND, box=(nan, inf))), "was nan at scale 0, and so was one more."),
        (step(0, loss=nan, terms=replace(SOUND, box=(nan, inf), cls=(nan, 0))), "at scale 0, and so were 2 more."),
    ],
)
def test_each_way_to_diverge_has_its_own_sentence(last: StepTelemetry, said: str) -> None:
    assert said in diagnose([last], ENDED).sentences[0]


def test_a_training_without_signs_says_so_in_sentences() -> None:
    sentences = diagnose([step(0, loss=nan, grad_norm=nan, update_ratio=nan, max_box_logit=nan)], ENDED).sentences

    assert sentences[1] == "No step before it had a loss or gradient that was a number."
    assert sentences[3] == "No single update before it was above 0.2 of the weights, the sign to look for."


numbers = st.floats()


@given(
    st.lists(
        st.builds(
            step,
            st.integers(0, 500),
            loss=numbers,
            grad_norm=numbers,
            update_ratio=numbers,
            max_box_logit=numbers,
            lr=numbers,
            terms=st.builds(
                LossTerms,
                box=st.tuples(numbers, numbers),
                obj=st.tuples(numbers, numbers),
                noobj=st.tuples(numbers, numbers),
                cls=st.tuples(numbers, numbers),
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_telemetry_has_a_diagnosis_that_can_be_stored(steps: list[StepTelemetry]) -> None:
    diagnosis = diagnose(steps, ENDED)

    assert str(Diagnosis.from_json(diagnosis.to_json())) == str(diagnosis)
    assert "\n" not in diagnosis.summary
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in diagnosis.sentences)


LOSSES = st.lists(st.floats(0.1, 10), min_size=1, max_size=40)


@given(LOSSES)
def test_the_first_jump_is_one_over_the_median_of_all_losses_before(losses: list[float]) -> None:
    jumps = [n for n in range(1, len(losses)) if losses[n] > LOSS_JUMP * median(losses[:n])]

    course = Course(steps=[step(n, loss=loss) for n, loss in enumerate(losses)], values=Hyperparameters())

    assert course.onset == (jumps or [len(losses) - 1])[0]


def test_a_course_of_many_steps_is_looked_through_at_once() -> None:
    course = Course(steps=[step(n, loss=1 + n * 0.618 % 1) for n in range(20_000)], values=Hyperparameters())
    begun = process_time()

    assert course.onset == 19_999
    assert process_time() - begun < 2  # 20 s where the losses are sorted anew at each step
