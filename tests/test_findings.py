"""The page of findings is written anew from a database, and keeps what people wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import findings
from benchmarks.rows import rows_of
from evolve.ablation.verdicts import conclusion
from tests.evolve.ablation.test_effects import BASELINE, BETTER, compare, runs
from tests.evolve.run.test_ablation import PLAIN, TUNED, ablation, run
from tests.evolve.run.test_noise import crossing

BY_HAND = """# What was found

By hand.

<!-- found: other -->
## Another?

| old | table |
<!-- end of other -->

- Said by hand.
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    run(ablation(PLAIN | {"question": "Which <rate>?"}), tmp_path)
    return f"{tmp_path}/evolve.db"


def test_a_part_has_question_table_time_machine_and_a_sentence(database: str) -> None:
    (part,) = findings.found_in(f"sqlite:///{database}", [])
    text = part.text

    assert part.name == "fake" and text.startswith(
        "## Which &lt;rate&gt;?\n\n`evolve ablate fake --markdown`: 21 trainings in "
    )
    assert "| lr0=0.1 | 6 |" in text and "| 7 (baseline 1) | unclear |" in text
    assert "The baseline reaches 0." in text and "a mean of 6 runs" in text
    assert text.endswith("Nothing was found: lr0=0.1 and lr0=5 cannot be told from baseline with 7 seeds.")


def test_a_part_on_photographs_names_their_folder_and_not_its_place(tmp_path: Path) -> None:
    run(ablation(PLAIN | {"question": "Which rate?"}, data="/home/me/blood-cells"), tmp_path)

    (part,) = findings.found_in(f"sqlite:///{tmp_path}/evolve.db", [])
    text = part.text

    assert text.startswith("## Which rate? (On blood-cells)\n\n") and "the baseline on blood-cells, " in text
    assert "/home/me" not in text


def test_a_part_says_what_arms_were_tuned_to(tmp_path: Path) -> None:
    run(ablation(TUNED), tmp_path)

    (part,) = findings.found_in(f"sqlite:///{tmp_path}/evolve.db", [])

    assert "Margin 0.01. Tuned to lr0 " in part.text and "of 3 tried)" in part.text


def test_noise_has_a_part_of_its_own_and_says_where_there_are_no_shares(tmp_path: Path) -> None:
    run(crossing(), tmp_path, stop_after=60)
    (half,) = findings.found_in(f"sqlite:///{tmp_path}/evolve.db", ["fake"])
    run(crossing(), tmp_path)
    (whole,) = findings.found_in(f"sqlite:///{tmp_path}/evolve.db", ["fake"])

    assert (
        half.text.startswith("## How much is noise on digits-1?") and "Nothing was found: of 27 trainings" in half.text
    )
    assert "| initialisation | " in whole.text and "Two single trainings that differ by less than 0." in whole.text
    assert not whole.rows


def test_the_page_is_rewritten_in_its_marked_parts_alone_and_again_to_the_same(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "findings.md"
    page.write_text(BY_HAND)
    monkeypatch.setattr(sys, "argv", ["findings", database, "--page", str(page)])

    findings.main()
    first = page.read_text()
    findings.main()

    assert first.startswith(BY_HAND) and first.count("<!-- found: fake -->") == 1
    assert page.read_text() == first


def test_every_training_of_a_part_has_a_row_and_those_of_other_studies_stay(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, trainings = tmp_path / "findings.md", tmp_path / "findings.csv"
    page.write_text(BY_HAND)
    trainings.write_text("study,arm,seed,outcome,fitness\nother,baseline,0,finished,0.5\nfake,old,0,finished,0.1\n")
    monkeypatch.setattr(sys, "argv", ["findings", database, "--page", str(page)])

    findings.main()
    rows = rows_of(trainings)

    assert rows[0] == {"study": "other", "arm": "baseline", "seed": "0", "outcome": "finished", "fitness": "0.5"}
    assert len(rows) == 1 + 21 and {row["arm"] for row in rows[1:]} == {"baseline", "lr0=0.1", "lr0=5"}
    assert all((row["fitness"] == "") == (row["outcome"] == "diverged") for row in rows[1:])


def test_a_part_that_is_there_is_replaced_where_it_stands() -> None:
    page = findings.rewritten(BY_HAND, {"other": "## New \\1?"})

    assert "old" not in page and "<!-- found: other -->\n## New \\1?\n<!-- end of other -->\n\n- Said by hand." in page


def test_a_study_that_no_database_holds_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["findings", database, "--study", "nowhere"])

    with pytest.raises(SystemExit, match="no ablation or noise of that name has begun"):
        findings.main()


def test_the_sentence_says_plainly_where_nothing_was_found() -> None:
    at = {"baseline": "baseline", "seeds": range(8), "margin": 0.0001}
    noise = [value + (0.01 if place % 2 else -0.011) for place, value in enumerate(BASELINE)]
    ends = {"baseline": BASELINE, "good": BETTER, "noise": noise}

    both = conclusion(compare(runs(ends), arms=["good", "noise"], **at))
    one = conclusion(compare(runs(ends), arms=["noise"], **at))

    assert both == "Of 2 arms, better than baseline: good; not decided with 8 seeds: noise."
    assert one == "Nothing was found: noise cannot be told from baseline with 8 seeds."
