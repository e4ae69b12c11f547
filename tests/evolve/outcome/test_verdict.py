"""Facts about verdicts: which one a training gets, and which of several seeds speaks for a trial."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.telemetry import EndCause, LaneEnded
from evolve.outcome.training import TrainingOutcome, TrialOutcome, fold
from evolve.outcome.verdict import Judgement, LossCurves, Verdict, judge
from evolve.study import Thresholds

NAN = float("nan")


def ended(*, is_diverged: bool = False, reason: str = "ran all epochs") -> LaneEnded:
    return LaneEnded(lane=0, step=400, cause=EndCause.DIVERGED if is_diverged else EndCause.FINISHED, reason=reason)


def judged(
    fitness: Sequence[float],
    *,
    first_loss: float = 2.0,
    last_loss: float = 0.5,
    train: Sequence[float] = (),
    val: Sequence[float] = (),
    end: LaneEnded | None = None,
    thresholds: Thresholds | None = None,
) -> Judgement:
    losses = LossCurves(first=first_loss, train=tuple(train or [last_loss] * len(fitness)), val=tuple(val))
    return judge(fitness, losses=losses, ended=end or ended(), thresholds=thresholds or Thresholds())


def test_a_level_end_is_converged() -> None:
    judgement = judged([0.1, 0.3, 0.5, 0.58, 0.6, 0.61, 0.6, 0.62])

    assert judgement == Judgement(verdict=Verdict.CONVERGED, reason="fitness 0.62; last quarter added 1.6%")


def test_an_end_that_rises_is_undertrained() -> None:
    judgement = judged([0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.56, 0.64])

    assert judgement.verdict == Verdict.UNDERTRAINED
    assert judgement.reason == "fitness 0.64 still rising: last quarter added 21.9%"


def test_a_fitness_that_never_left_the_ground_is_undertrained() -> None:
    judgement = judged([0.0, 0.01, 0.012])

    assert judgement.verdict == Verdict.UNDERTRAINED
    assert judgement.reason == "fitness 0.012 never left the ground (below 0.05)"


def test_a_lane_that_blew_up_has_diverged_for_the_reason_the_trainer_gave() -> None:
    judgement = judged([0.5, 0.6], end=ended(is_diverged=True, reason="obj loss is nan"))

    assert judgement == Judgement(verdict=Verdict.DIVERGED, reason="obj loss is nan")


def test_a_lane_that_blew_up_in_its_first_epoch_has_diverged() -> None:
    judgement = judged([], first_loss=NAN, last_loss=NAN, end=ended(is_diverged=True, reason="loss is nan"))

    assert judgement.verdict == Verdict.DIVERGED


def test_a_loss_that_stayed_finite_but_grew_has_diverged_whatever_its_fitness() -> None:
    judgement = judged([0.3, 0.3, 0.3], first_loss=2.0, last_loss=74.0)

    assert judgement == Judgement(verdict=Verdict.DIVERGED, reason="loss grew to 37x its start")


@pytest.mark.parametrize("last_loss", [4.0, 0.0])
def test_a_loss_at_twice_its_start_has_not_diverged_yet(last_loss: float) -> None:
    assert judged([0.3, 0.3], first_loss=2.0, last_loss=last_loss).verdict != Verdict.DIVERGED


@pytest.mark.parametrize(
    ("fitness", "first_loss", "last_loss"),
    [([0.3, NAN], 1.0, 1.0), ([0.3, float("inf")], 1.0, 1.0), ([0.3], NAN, 1.0), ([0.3], 1.0, NAN)],
)
def test_a_number_that_is_none_has_diverged(fitness: list[float], first_loss: float, last_loss: float) -> None:
    judgement = judged(fitness, first_loss=first_loss, last_loss=last_loss)

    assert judgement.verdict == Verdict.DIVERGED
    assert "nan" in judgement.reason or "inf" in judgement.reason


def test_a_training_without_an_epoch_has_failed() -> None:
    judgement = judged([], first_loss=NAN, last_loss=NAN)

    assert judgement == Judgement(verdict=Verdict.FAILED, reason="ended at step 400, before the first epoch was over")


@pytest.mark.parametrize("fitness", [[0.5], [0.5, 0.51], [0.6, 0.6, 0.5], [0.5, 0.5, 0.5, 0.5]])
def test_nothing_is_said_of_convergence_before_there_are_five_epochs(fitness: list[float]) -> None:
    judgement = judged(fitness)

    assert judgement.verdict == Verdict.UNDERTRAINED
    assert f"after {len(fitness)} epochs, too few to tell" in judgement.reason


@pytest.mark.parametrize(
    ("train", "cause"),
    [([2, 1.5, 1.2, 1, 0.9, 0.8, 0.7, 0.6], "overfitting"), ([1, 1, 0.5, 1, 1.2, 1.4, 1.5, 1.6], "collapsing")],
)
def test_a_fitness_that_is_lost_again_has_worsened_and_the_losses_say_how(train: list[float], cause: str) -> None:
    judgement = judged([0.1, 0.3, 0.5, 0.5, 0.4, 0.35, 0.3, 0.28], train=train, val=[1, 1, 1, 1, 1.2, 1.4, 1.6, 1.8])

    assert judgement.verdict == Verdict.WORSENED
    assert judgement.reason.startswith(f"fitness 0.28: 42.0% lost since epoch 3, {cause} (training loss 1 to")


def test_a_little_lost_at_the_end_is_noise() -> None:
    assert judged([0.1, 0.3, 0.5, 0.52, 0.5, 0.48, 0.5, 0.49]).verdict == Verdict.CONVERGED


def test_a_level_end_with_most_of_the_loss_left_wanted_a_higher_rate() -> None:
    judgement = judged([0.05, 0.07, 0.08, 0.08, 0.08, 0.08], first_loss=2.0, last_loss=1.5)

    assert judgement.verdict == Verdict.UNDERTRAINED
    assert "the rate decayed before it got anywhere: loss still at 75% of its start" in judgement.reason


def test_what_is_below_the_limit_in_print_is_below_it_in_fact() -> None:
    rising = [0.1, 0.2, 0.3, 0.4, 0.45, 0.46, 0.48, 0.5002]

    assert judged(rising).reason == "fitness 0.5 still rising: last quarter added 8.0%"
    assert judged([*rising[:-1], 0.49]).reason == "fitness 0.49; last quarter added 6.1%"


def test_thresholds_of_the_study_decide() -> None:
    strict = Thresholds(floor=0.7, still_rising=0.01, loss_growth=1.1)

    assert judged([0.6] * 5).verdict == Verdict.CONVERGED
    assert judged([0.6] * 5, thresholds=strict).verdict == Verdict.UNDERTRAINED
    assert judged([0.78] * 4 + [0.8]).verdict == Verdict.CONVERGED
    assert judged([0.78] * 4 + [0.8], thresholds=strict).verdict == Verdict.UNDERTRAINED
    assert judged([0.8] * 5, first_loss=1, last_loss=1.5).verdict == Verdict.UNDERTRAINED
    assert judged([0.8] * 5, first_loss=1, last_loss=1.5, thresholds=strict).verdict == Verdict.DIVERGED


def test_the_worst_training_speaks_for_the_trial_and_the_others_are_counted() -> None:
    good = TrainingOutcome(verdict=Verdict.CONVERGED, reason="flat", fitness=0.6)
    slow = TrainingOutcome(verdict=Verdict.UNDERTRAINED, reason="still rising", fitness=0.3)
    blown = TrainingOutcome(verdict=Verdict.DIVERGED, reason="box loss nan", diagnosis="{}")

    assert fold({3: good}, num_seeds=1) == TrialOutcome(verdict=Verdict.CONVERGED, reason="flat", fitness=0.6)
    mixed = fold({0: good, 7: slow, 8: good}, num_seeds=3)
    assert mixed.verdict == Verdict.UNDERTRAINED
    assert mixed.reason == "mean fitness 0.5 of 3 seeds; seed 7: still rising (the others: 2 converged)"
    assert mixed.fitness == pytest.approx(0.5)
    diverged = fold({0: slow, 1: blown}, num_seeds=3)
    assert (diverged.verdict, diverged.diagnosis) == (Verdict.DIVERGED, "{}")
    assert diverged.reason == "seed 1: box loss nan (the others: 1 undertrained)"
    assert isnan(diverged.fitness)
    assert fold({4: good, 5: good}, num_seeds=2).reason == "mean fitness 0.6 of 2 seeds; seed 4: flat"


def test_a_trial_that_failed_after_one_of_its_trainings_diverged_keeps_the_diagnosis() -> None:
    blown = TrainingOutcome(verdict=Verdict.DIVERGED, reason="box loss nan", diagnosis='{"step": 7}')
    failed = TrainingOutcome(verdict=Verdict.FAILED, reason="RuntimeError: no")

    told = fold({0: blown, 1: failed}, num_seeds=2)

    assert (told.verdict, told.diagnosis) == (Verdict.FAILED, '{"step": 7}')


def test_a_pruned_trial_keeps_the_fitness_it_had_and_a_failed_one_its_traceback() -> None:
    pruned = TrainingOutcome(verdict=Verdict.PRUNED, reason="behind the others", fitness=0.1)
    failed = TrainingOutcome(verdict=Verdict.FAILED, reason="RuntimeError: no")

    assert fold({2: pruned}, num_seeds=2) == TrialOutcome(
        verdict=Verdict.PRUNED, reason="behind the others", fitness=0.1
    )
    told = fold({0: pruned, 1: failed}, num_seeds=1, traceback="Traceback")
    assert (told.verdict, told.reason, told.traceback) == (Verdict.FAILED, "RuntimeError: no", "Traceback")


def test_whatever_can_be_best_has_trained_to_its_end() -> None:
    assert [verdict for verdict in Verdict if verdict.can_be_best] == ["converged", "undertrained", "worsened"]


def test_verdicts_are_ordered_from_best_to_worst_and_are_their_names() -> None:
    assert [str(each) for each in Verdict] == (
        ["converged", "undertrained", "worsened", "partial", "paused", "pruned", "doomed", "diverged", "failed"]
    )


@given(st.lists(st.floats(), max_size=12), st.floats(), st.floats(), st.booleans())
def test_every_training_gets_a_verdict_and_a_reason(
    fitness: list[float], first_loss: float, last_loss: float, is_diverged: bool
) -> None:
    judgement = judged(fitness, first_loss=first_loss, last_loss=last_loss, end=ended(is_diverged=is_diverged))

    assert judgement.reason
    assert judgement.verdict != Verdict.PRUNED
