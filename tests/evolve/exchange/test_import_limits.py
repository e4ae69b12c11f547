"""Hyp and result files with a value that means two things, or nothing: refused with line and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evolve.errors import EvolveError
from evolve.exchange.conversion import context_for, import_hyp
from evolve.exchange.dialects import Context, DialectError, from_dialect
from evolve.exchange.result_files import read_results
from evolve.exchange.results import Origin, import_results
from evolve.storage.database import Storage
from evolve.study.hyp import HypError, read_hyp, write_whole
from tests.evolve.exchange.test_import_results import GOOD, evolve_csv, results_csv

TUNE = {"iteration": 1, "fitness": 0.4, "hyperparameters": {"lr0": 0.01}, "datasets": {}}


def _line(**changes: Any) -> str:
    return json.dumps({**TUNE, **changes})


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        (
            "evolve.csv",
            evolve_csv(((0.6, 0.5, 1.7, *GOOD[3:]), {})),
            r"evolve\.csv:2:60: metrics/mAP_0.5: 1.7 is outside 0",
        ),
        (
            "evolve.csv",
            evolve_csv(((-0.6, *GOOD[1:]), {})),
            r"evolve\.csv:2:17: metrics/precision: -0.6 is outside 0..1",
        ),
        ("tune.csv", "fitness,lr0\n5e9,0.01\n", r"tune\.csv:2:1: fitness: 5e\+09 is outside 0..1"),
        ("tune.csv", "fitness,lr0\n0.\u0664,0.01\n", r"tune\.csv:2:1: fitness: .* is not a number"),
        ("tune.csv", f"fitness,{'a' * 101}\n0.4,1\n", r"tune\.csv:1:9: column 'a+ has too long a name"),
        ("results.csv", results_csv((0, (*GOOD[:3], 4, *GOOD[4:]))), r"results\.csv:2:30: metrics/mAP_0.5:0.95: 4 is"),
        ("results.csv", results_csv(("1:30", GOOD)), r"results\.csv:2:1: epoch: '1:30' is not a number"),
        ("results.csv", results_csv((1.5, GOOD)), r"results\.csv:2:1: epoch: '1.5' is not a whole number"),
        ("tune.ndjson", _line(fitness=-3), r"tune\.ndjson:1:18: fitness: -3 is outside 0..1"),
        ("tune.ndjson", _line(fitness=10**400), r"tune\.ndjson:1:1: 1000000.* is beyond what a number can hold"),
        ("tune.ndjson", _line(hyperparameters={"lr0": 10**400}), r"tune\.ndjson:1:1: 1000000.* is beyond"),
        ("tune.ndjson", _line().replace("0.01", "1e999"), r"tune\.ndjson:1:1: 1e999 is beyond what a number can hold"),
        ("tune.ndjson", '{"fitness": 0.1, ' + _line()[1:], r"tune\.ndjson:1:1: key 'fitness' is given twice"),
        ("tune.ndjson", "[" * 100_000, r"tune\.ndjson:1:1: is nested too deeply"),
        ("evolve.txt", " ".join(["1.5"] * 35), r"evolve\.txt:1:1: precision: 1.5 is outside 0..1"),
    ],
)
def test_results_beyond_what_they_can_be_are_refused_with_line_and_column(
    name: str, text: str, place: str, tmp_path: Path
) -> None:
    with pytest.raises(DialectError, match=place):
        read_results(text, origin=str(tmp_path / name))


@pytest.mark.parametrize("name", ["hyp.yaml", "args.yaml"])
def test_a_file_beside_a_results_csv_that_is_not_utf_8_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"lr0: 0.01 # caf\xe9\n")
    path = tmp_path / "results.csv"
    results = read_results(results_csv((0, GOOD)), origin=str(path))
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")

    with pytest.raises(DialectError, match=rf"{name}: is not text in UTF-8 \(byte 15, line 1\)"):
        import_results(storage, results, Context(), name="theirs", origin=Origin(path=path))
    storage.close()


@pytest.mark.parametrize(
    ("dialect", "text", "place"),
    [
        ("yolov3", "lr0: 1_0", r"h:1:6: lr0: '1_0' is not a finite number"),
        ("yolov3", "lr0: 1:30", r"h:1:6: lr0: '1:30' is not a finite number"),
        ("yolov3", "momentum: 00", r"h:1:11: momentum: '00' is not a finite number"),
        ("yolov3", "lr0: \u0663", r"h:1:6: lr0: .* is not a finite number"),
        ("ultralytics", "cos_lr: yes", r"h:1:9: cos_lr: 'yes' is not true or false"),
        ("yolov3", "a: " + "[" * 5000, r"h:1:24: is nested deeper than 20 levels"),
        ("yolov3", "a: !!int abc\nlr0: !local 1", r"h:2:6: tag !local is not known"),
        ("darknet", "[net]\nmomentum=0.9\nmomentum=0.8\n", r"h:3:1: key 'momentum' is given twice"),
    ],
)
def test_a_hyp_file_with_a_value_of_two_meanings_is_refused(dialect: str, text: str, place: str) -> None:
    with pytest.raises(DialectError, match=place):
        from_dialect(dialect, text, Context(), origin="h")


def test_a_number_that_pyyaml_reads_in_octal_says_nothing_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("lr0: 0.01\nepochs: 010\noptimizer: SGD\n")

    notes = import_hyp(tmp_path / "args.yaml", "ultralytics", tmp_path / "ours.yaml", {}).notes

    assert "--epochs 300" in notes[0]  # assumed: neither eight nor ten is what the file surely means


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr0: 0.01\nlr0: 0.02", "line 2: key 'lr0' is given twice"),
        ("lr0: 1_0", "lr0: '1_0' is not a number"),
        ("lr0: 010", "lr0: '010' is not a number"),
        ("lr0: 1:30", "lr0: '1:30' is not a number"),
        ("nesterov: yes", r"nesterov: 'yes' is not one of \[False, True\]"),
        (f"lr0: 1{'0' * 350}", r"lr0: 10+ is outside 0..1e\+06"),
        (f"lr0: {'1' * 4301}", "line 1: a number of 4,301 characters"),
        ("lr0: 2001-99-99", "lr0: '2001-99-99' is not a number"),
        ("#" * 2**20, "is larger than 1,048,576 bytes|is longer than"),
    ],
)
def test_our_hyp_file_with_a_value_of_two_meanings_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "hyp.yaml").write_text(text)

    with pytest.raises(HypError, match=rf"hyp\.yaml: ({words})"):
        read_hyp(tmp_path / "hyp.yaml")


@pytest.mark.parametrize("chosen", [{"epochs": 10**20}, {"classes": 10**20}, {"images": 10**20}, {"image_size": 2**40}])
def test_a_training_of_no_use_is_refused_by_its_option(chosen: dict[str, int]) -> None:
    (name,) = chosen
    with pytest.raises(EvolveError, match=f"^--{name.replace('_', '-')}: "):
        context_for(chosen)


@pytest.mark.parametrize("name", ["a\0b.yaml", "a" * 300, "."])
def test_a_file_that_cannot_be_written_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(EvolveError, match="cannot be written: "):
        write_whole(tmp_path / name, "text")
