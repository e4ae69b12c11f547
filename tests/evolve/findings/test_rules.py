"""Each rule at its limits: what it says, with which numbers, and where it is silent."""

from __future__ import annotations

from dataclasses import replace
from math import log10, nan

import numpy as np
import pytest
from scipy.stats import ncf

from detector.hyperparameters import declarations
from evolve.findings import RULES, Finding, Search
from evolve.findings.idle import _most_explained
from evolve.findings.search import Losses, Tried, place
from tests.evolve.findings.made import EPOCHS, SPACE, hill, ridge, searched, study, with_outlier


def said(rule: str, search: Search) -> list[Finding]:
    return list(RULES[rule](search))


def test_a_best_value_at_the_upper_end_names_the_wider_range() -> None:
    (found,) = said("edge", searched(lambda params: 0.5 + 0.1 * log10(params["lr0"])))

    # Three decades and half of them on top.
    assert found.key == "edge-lr0" and "within a tenth of the upper end of 0.001 to 1" in found.text
    assert found.changes["space"]["lr0"] == {"low": 0.001, "high": 32.0, "log": True}
    assert found.changes["space"]["momentum"] == SPACE["momentum"] | {"log": False}
    assert found.next_command("hunt") == "evolve follow hunt edge-lr0"
    assert found.evidence["p"] < 0.05 / 2  # type: ignore[operator]


def test_a_best_value_at_the_lower_end_is_found_as_well_and_no_further_than_is_allowed() -> None:
    (found,) = said("edge", searched(lambda params: 0.9 - 4 * (params["momentum"] - 0.8)))

    assert found.changes["space"]["momentum"]["low"] == pytest.approx(0.71)
    assert said("edge", searched(lambda params: 4 * params["momentum"]))[0].changes["space"]["momentum"]["high"] <= 1


def test_beyond_what_is_declared_nothing_wider_is_advised() -> None:
    high = declarations()["momentum"].high
    of = study(space={"momentum": {"low": 0.5, "high": high}})

    assert not said("edge", searched(lambda params: params["momentum"], of=of))


def test_one_lucky_trial_at_an_end_is_no_edge() -> None:
    search = searched()
    lucky = Tried(number=99, verdict="converged", params={"lr0": 0.99, "momentum": 0.89}, fitness=0.95)

    assert not said("edge", replace(search, tried=[*search.tried, lucky]))


def test_where_fitness_falls_again_before_the_end_nothing_wider_is_advised() -> None:
    search = searched(lambda params: 0.5 + 0.1 * log10(params["lr0"]))
    best = Tried(number=99, verdict="converged", params={"lr0": 0.9, "momentum": 0.9}, fitness=0.7)
    worse = [
        replace(best, number=100 + more, params={"lr0": 0.92 + 0.02 * more, "momentum": 0.85}) for more in range(4)
    ]

    inside = [tried for tried in search.tried if place(search.ranges["lr0"], tried.params["lr0"]) < 0.98]

    def falling(number: int, fitness: float) -> Search:
        return replace(search, tried=[*inside, best, *(replace(trial, fitness=fitness) for trial in worse[:number])])

    assert not said("edge", falling(4, 0.4))
    assert said("edge", falling(4, 0.69))
    (found,) = said("edge", falling(1, 0.4))
    assert ", but 1 trial beyond it came to at most 0.400: search 0.001 to 32" in found.text  # it may be bad luck
    lost = replace(worse[0], verdict="diverged", fitness=nan)
    assert (
        ", but 1 trial beyond it diverged: search" in said("edge", replace(search, tried=[*inside, best, lost]))[0].text
    )


def test_an_end_at_which_others_diverge_is_not_widened() -> None:
    def fitness(params: dict[str, float]) -> float:
        return nan if 0.3 < params["lr0"] < 0.9 else 0.5 + 0.1 * log10(params["lr0"])

    assert not said("edge", searched(fitness))  # type: ignore[arg-type]


def test_a_best_with_others_around_it_is_not_alone() -> None:
    alone = with_outlier()
    (found,) = said("alone", alone)
    best = alone.best
    company = [
        Tried(number=100 + count, verdict="converged", params=best.params, fitness=0.3 + count / 100)
        for count in range(2)
    ]

    assert found.changes["space"]["lr0"]["low"] < best.params["lr0"] < found.changes["space"]["lr0"]["high"]  # type: ignore[operator]
    assert not said("alone", replace(alone, tried=[*alone.tried, *company]))


def test_longer_is_advised_where_most_of_the_best_still_rise_and_not_where_the_best_alone_does() -> None:
    rising = searched(curve=lambda last: [last * (epoch + 1) / EPOCHS for epoch in range(EPOCHS)])
    (found,) = said("longer", rising)
    flat = searched()
    best = replace(flat.best, curve=rising.best.curve)
    one = replace(flat, tried=[best if each.number == best.number else each for each in flat.tried])

    assert found.changes == {"epochs": 2 * EPOCHS} and found.evidence["gain"] == pytest.approx(3 / 12)
    assert not said("longer", flat) and not said("longer", one)


def test_shorter_is_advised_with_room_to_spare_where_all_of_the_best_were_done_early() -> None:
    early = searched(curve=lambda last: [last * min((epoch + 1) / 3, 1) for epoch in range(EPOCHS)])
    (found,) = said("shorter", early)
    late = replace(early.best, curve=[early.best.fitness * (epoch + 1) / EPOCHS for epoch in range(EPOCHS)])
    mixed = replace(early, tried=[late if each.number == late.number else each for each in early.tried])

    # As good as at the end after the third epoch, and a quarter more.
    assert found.evidence["needed"] == 3 and found.changes == {"epochs": 4}
    assert not said("shorter", mixed)


def test_nothing_is_said_of_the_length_of_a_few_epochs_or_of_curves_that_are_not_known() -> None:
    few = study(epochs=4)
    rising = searched(of=few, curve=lambda last: [last / 4, last / 3, last / 2, last])
    unknown = searched(curve=lambda _: [])

    assert not said("longer", rising) and not said("shorter", rising)
    assert not said("longer", unknown) and not said("shorter", unknown) and not said("overfitting", unknown)


TURNED = [5.0, 3.0, 2.0, 1.5, 1.4, 1.6, 1.8, 2.0, 2.1, 2.2, 2.3, 2.4]
FALLING = [5.0 / (epoch + 1) for epoch in range(EPOCHS)]


def overfitted(*, train: list[float], val: list[float], gains: float = 1.0) -> list[Finding]:
    def curve(last: float) -> list[float]:
        return [last / gains * min((epoch + 1) / 5, 1) for epoch in range(EPOCHS - 1)] + [last]

    losses = {"obj": Losses(train=train, val=val), "box": Losses(train=[0.1] * EPOCHS, val=[0.1] * EPOCHS)}
    return said("overfitting", searched(curve=curve, losses=losses))


def test_overfitting_needs_a_validation_loss_that_rises_while_the_training_loss_falls_and_no_gain() -> None:
    (found,) = overfitted(train=FALLING, val=TURNED)

    assert found.evidence["epoch"] == 4 and found.changes == {"epochs": 5} and "most in obj" in found.text
    assert found.evidence["validation_loss_grew"] == pytest.approx(2.5 / 1.5 - 1)
    assert not overfitted(train=FALLING, val=FALLING)
    assert not overfitted(train=TURNED, val=TURNED)
    assert not overfitted(train=FALLING, val=TURNED, gains=1.2)  # of fitness since: worth it


def test_a_rate_close_to_the_one_from_which_trials_diverge_is_to_be_confirmed() -> None:
    (found,) = said("unstable", searched(lambda params: nan if params["lr0"] > 0.06 else ridge(params)))

    assert 0.03 < found.evidence["edge"] < 0.1 and found.evidence["factor"] < 3  # type: ignore[operator]
    assert found.next_command("hunt") == "evolve confirm hunt"
    assert not said("unstable", searched(lambda params: nan if params["lr0"] > 0.5 else hill(params)))
    assert not said("unstable", searched(lambda params: nan if params["lr0"] < 0.02 else hill(params)))


def test_a_space_of_which_much_diverges_is_cut_where_one_hyperparameter_tells() -> None:
    (found,) = said("infeasible", searched(lambda params: nan if params["lr0"] > 0.04 else hill(params)))
    lr0 = found.changes["space"]["lr0"]

    assert lr0["low"] == 0.001 and 0.03 < lr0["high"] < 0.06
    assert found.evidence["diverged"] / found.evidence["ended"] > found.evidence["at_least"] > 0.2  # type: ignore[operator]


def test_a_few_that_diverge_are_the_price_of_a_search() -> None:
    assert not said("infeasible", searched(lambda params: nan if params["lr0"] > 0.5 else hill(params)))


def test_where_nothing_tells_who_diverges_the_first_of_them_is_to_be_looked_at() -> None:
    rng = np.random.default_rng(0)
    (found,) = said("infeasible", searched(lambda params: nan if rng.random() < 0.5 else hill(params)))

    assert not found.changes and found.next_command("hunt").startswith("evolve show hunt ")


def test_a_key_that_can_have_no_effect_leaves_the_space_at_its_own_value() -> None:
    of = study(space={"lr0": SPACE["lr0"], "focal_gamma": {"low": 0.5, "high": 3}})
    (found,) = said("no-use", searched(lambda params: params["lr0"], of=of))

    assert found.key == "no-use-focal_gamma" and list(found.changes["space"]) == ["lr0"]
    assert found.fixes == {"focal_gamma": of.baseline_params()["focal_gamma"]}
    assert not said("no-use", searched())


def test_a_key_that_matters_is_never_said_to_have_had_no_effect() -> None:
    for seed in range(40):  # a fifth of the variance is the momentum's, by itself
        search = searched(lambda params: params["momentum"], noise=0.104, num_trials=80, seed=seed)

        assert "no-effect-momentum" not in [finding.key for finding in said("no-effect", search)]


def test_the_limit_of_what_is_explained_is_where_so_small_an_f_comes_in_one_of_twenty() -> None:
    rng = np.random.default_rng(1)
    groups = [rng.permutation(200)[:50].astype(float) for _ in range(4)]
    most = _most_explained(groups)

    from scipy.stats import f_oneway

    noncentrality = most * 200 / (1 - most)
    assert ncf.cdf(f_oneway(*groups).statistic, 3, 196, noncentrality) == pytest.approx(0.05, abs=1e-6)
    assert _most_explained([np.arange(50.0), np.arange(50.0) + 500]) == 1.0
    assert _most_explained([np.arange(3.0)]) == 1.0
