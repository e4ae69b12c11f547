"""Whose the gain of a trained ablation is: paths and full factorials, and what is said of seeds that are left out."""

from __future__ import annotations

import csv
from fractions import Fraction
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from evolve.ablation.compared import Compared
from evolve.ablation.factorial import shapley_values
from evolve.ablation.interim import standing
from evolve.ablation.runs import ArmRun
from evolve.ablation.sharing import combinations_of, gain_shares
from evolve.ablation.trained import plan_of
from evolve.commands.effect_text import table_markdown, table_text, write_rows
from evolve.study import Study

TO = {"lr0": 0.1, "schedule": "cosine"}
FULL = {"lr0": [0.1], "schedule": ["cosine"]}


def study(section: dict[str, Any]) -> Study:
    return Study.from_mapping({"name": "s", "ablation": {"seeds": 8} | section}, origin="test")


def shown(section: dict[str, Any], ends: dict[str, list[float | str]]) -> Compared:
    """An ablation whose arms ended so, seed by seed."""
    found = study(section)
    ablation, plan = plan_of(found)
    runs = [
        ArmRun(arm, seed, None, end) if isinstance(end, str) else ArmRun(arm, seed, end, "finished")
        for arm, each in ends.items()
        for seed, end in enumerate(each)
    ]
    at_end = standing(plan, runs, margin=0.01, through=1)
    return Compared(study=found, ablation=ablation, plan=plan, standing=at_end)


BASE: list[float | str] = [0.50, 0.51, 0.49, 0.52, 0.50, 0.48, 0.53, 0.51]
ENDS: dict[str, list[float | str]] = {
    "baseline": BASE,
    "lr0=0.1": [0.53, 0.55, 0.52, 0.55, 0.54, 0.50, 0.56, 0.55],
    "schedule=cosine": [0.51, 0.52, 0.49, 0.53, 0.51, 0.50, 0.53, 0.52],
    "lr0=0.1, schedule=cosine": [0.56, 0.57, 0.55, 0.58, 0.57, 0.55, 0.58, 0.57],
}


def test_a_full_factorial_of_two_values_each_has_a_share_for_each_change_that_add_up_to_the_gain() -> None:
    found = shown({"factorial": FULL}, ENDS).shares()
    assert found is not None

    values = [[Fraction(ends[seed]) for ends in ENDS.values()] for seed in range(8)]
    by_hand = [sum(shapley_values(row)[place] for row in values) / 8 for place in (0, 1)]
    assert [share.names for share in found.shares] == [("lr0=0.1",), ("schedule=cosine",)]
    assert [share.mean for share in found.shares] == pytest.approx([float(mean) for mean in by_hand])
    assert sum(by_hand) == sum(row[-1] - row[0] for row in values) / 8
    assert sum(share.mean for share in found.shares) == pytest.approx(found.gain.mean, abs=1e-15)
    assert found.num_seeds == 8 and found.basis == "over all 8 seeds"


def test_three_values_or_five_hyperparameters_have_no_shares_and_neither_have_other_ablations() -> None:
    three = study({"factorial": {"lr0": [0.1, 0.2], "schedule": ["cosine"]}})
    one = study({"factorial": {"lr0": [0.1]}})
    other = study({"arms": {"fast": {"lr0": 0.1}, "bent": {"schedule": "cosine"}, "both": TO}})

    assert [combinations_of(*plan_of(each)) for each in (three, one, other)] == [(), (), ()]
    assert gain_shares(*plan_of(other), []) is None


def test_the_combinations_stand_in_the_order_of_their_bits_whatever_the_order_of_arms() -> None:
    found = study({"factorial": FULL | {"nesterov": [False]}, "seeds": 9})

    assert combinations_of(*plan_of(found)) == (
        "baseline",
        "lr0=0.1",
        "schedule=cosine",
        "lr0=0.1, schedule=cosine",
        "nesterov=False",
        "lr0=0.1, nesterov=False",
        "schedule=cosine, nesterov=False",
        "lr0=0.1, schedule=cosine, nesterov=False",
    )


def test_a_path_is_told_step_by_step_with_the_whole_gain_and_seeds_that_are_left_out() -> None:
    ends = {"baseline": BASE, "+ lr0=0.1": ["diverged", *ENDS["lr0=0.1"][1:]], "+ schedule=cosine": BASE}
    found = shown({"path": {"to": TO}}, ends)

    text, markdown = table_text(found, width=None), table_markdown(found)

    shares = found.shares()
    assert shares is not None and shares.is_path
    steps = [share.mean for share in shares.shares]
    assert steps[1] == pytest.approx(-steps[0]) and shares.gain.mean == 0
    assert "what each step adds to the ones before it, in fitness\nseeds   over 7 of 8 seeds" in text
    assert "1 left out, 1 of them for a divergence: seed 0 (+ lr0=0.1 diverged)" in text
    assert f"| + lr0=0.1 | {steps[0]:+.4f} |" in markdown and "| all together | +0.0000 |" in markdown


def test_an_arm_that_always_diverges_leaves_no_share_and_says_so() -> None:
    found = shown({"factorial": FULL}, ENDS | {"schedule=cosine": ["diverged"] * 8}).shares()
    assert found is not None

    assert found.num_seeds == 0 and isnan(found.gain.mean)
    assert "over 0 of 8 seeds" in found.basis and "8 left out, 8 of them for a divergence" in found.basis


def test_shares_are_rows_of_commas_beside_the_effects(tmp_path: Path) -> None:
    files = write_rows(shown({"factorial": FULL}, ENDS), tmp_path / "effects.csv")

    rows = [*csv.DictReader(files["shares"].open())]
    assert files["shares"] == tmp_path / "effects_shares.csv"
    assert [(row["kind"], row["name"]) for row in rows] == [
        ("change", "lr0=0.1"),
        ("change", "schedule=cosine"),
        ("whole", "all"),
        ("pair", "lr0=0.1 and schedule=cosine"),
    ]
    assert {row["seeds"] for row in rows} == {"8"} and {row["left_out"] for row in rows} == {"0"}
    assert set(
        write_rows(shown({"arms": {"fast": {"lr0": 0.1}}}, {"baseline": BASE, "fast": BASE}), tmp_path / "e.csv")
    ) == {"csv"}
