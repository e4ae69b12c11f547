"""What rules would have done: counted as hits and false alarms, with limits, against the published rules of others."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import pytest

from detector.telemetry import StepTelemetry
from evolve.outcome.backtest import Share, score, scored
from evolve.outcome.stop_rules import PEERS, Recorded, doomed, doomed_at_once, rules
from evolve.outcome.warnings import Kind
from tests.evolve.outcome.streams import falling
from tests.evolve.outcome.test_warnings import LEVELS

COUNT, PER_EPOCH = 60, 10


def recorded(
    steps: Sequence[StepTelemetry],
    *,
    is_doomed: bool = False,
    is_best: bool = False,
    is_spared: Sequence[bool] = (False,) * 6,
) -> Recorded:
    return Recorded(
        kind=Kind(is_adaptive=False, has_exp=True),
        steps=steps,
        total_steps=COUNT,
        steps_per_epoch=PER_EPOCH,
        is_doomed=is_doomed,
        is_spared=is_spared,
        is_best=is_best,
    )


def lost(at: int, end: int = COUNT) -> list[StepTelemetry]:
    """Updates and boxes too large, and a loss that rises, from a step on."""
    usual, rest = [0.01] * at, [0.9] * (end - at)
    losses = [0.98**number for number in range(at)] + [1.02**number for number in range(end - at)]
    return falling(end, loss=losses, update_ratio=usual + rest, max_box_logit=[100 * each for each in usual + rest])


def test_ours_stops_at_the_end_of_an_epoch_unless_the_training_is_spared_and_at_once_where_nothing_is_waited_for() -> (
    None
):
    run = recorded(lost(12), is_doomed=True)
    leading = recorded(lost(12), is_spared=[True, True, False, False, False, False])

    assert doomed_at_once(LEVELS)(run) == 14
    assert doomed(LEVELS)(run) == 19
    assert doomed(LEVELS)(leading) == 29
    assert doomed(LEVELS)(recorded(lost(COUNT - 5))) is None  # the last epoch is over: nothing is saved


def test_ours_waits_while_the_loss_falls_again_and_warns_all_the_same() -> None:
    losses = [1.0] + [1e6 * 0.5**number for number in range(9)] + [3e3 * 1.1**number for number in range(COUNT - 10)]
    updates = [0.01] * 2 + [0.9] * (COUNT - 2)

    run = recorded(falling(COUNT, loss=losses, update_ratio=updates))

    assert doomed_at_once(LEVELS)(run) == 4
    assert doomed(LEVELS)(run) == 29  # falls to the tenth step, rises from there on


@pytest.mark.parametrize(
    ("name", "changes", "at"),
    [
        ("update above 0.2", {"update_ratio": [0.01] * 20 + [0.3] * 40}, 20),
        ("SageMaker update", {"update_ratio": [0.3] * 20 + [10.5] * 40}, 20),
        ("SageMaker update", {"update_ratio": [0.3] * 20 + [1e-9] * 40}, 20),
        ("SageMaker loss", {"loss": [0.9**step for step in range(20)] + [1.0] * 40}, 20),
        ("AutoTrainer", {"grad_norm": [60.0] * 20 + [71.0] * 40}, 20),
        ("AutoTrainer", {"loss": [900.0] * 20 + [1001.0] * 40}, 20),
        ("BTTackler", {"grad_norm": [9e3] * 20 + [2e4] * 40}, 20),
        ("BTTackler", {"loss": [0.9**step for step in range(20)] + [1.0] * 40}, 29),
    ],
)
def test_a_rule_of_a_peer_fires_where_its_publication_says(name: str, changes: dict[str, list[float]], at: int) -> None:
    assert PEERS[name](recorded(falling(COUNT, **changes))) == at


def test_no_rule_of_a_peer_fires_on_a_loss_that_falls() -> None:
    assert {name: rule(recorded(falling(COUNT))) for name, rule in PEERS.items()} == dict.fromkeys(PEERS)


def test_hits_and_false_alarms_are_counted_with_the_steps_they_save_and_waste() -> None:
    runs = [
        recorded(lost(12, 40), is_doomed=True),  # stopped after 20 of 40 steps
        recorded(falling(30), is_doomed=True),  # missed
        recorded(lost(32)),  # stopped after 40 of 60
        recorded(falling(COUNT), is_best=True),
    ]

    found = score("doomed", doomed(LEVELS), runs)

    assert (found.hits, found.alarms, found.best) == (
        Share(count=1, total=2),
        Share(count=1, total=2),
        Share(count=0, total=1),
    )
    assert found.stopped_at == pytest.approx(20 / COUNT)
    assert found.saved == pytest.approx(20 / 190) and found.wasted == pytest.approx(20 / 190)


def test_a_training_that_ends_by_itself_at_the_step_was_not_stopped() -> None:
    run = recorded(lost(12, 15), is_doomed=True)

    found = scored("any", [(run, 14)])

    assert found.hits == Share(count=0, total=1) and isnan(found.stopped_at) and found.saved == 0


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    # 34 of 34: the lower limit is the 34th root of 0.025; none of 149: one minus the 149th root of 0.025
    assert Share(count=34, total=34).interval == pytest.approx((0.025 ** (1 / 34), 1.0))
    assert Share(count=0, total=149).interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 149)))
    assert Share(count=0, total=0).interval == (0.0, 1.0) and Share(count=0, total=0).text == "none"


def test_all_rules_are_told_apart_by_name() -> None:
    assert [*rules(LEVELS)] == ["doomed", "doomed, at once", *PEERS]
