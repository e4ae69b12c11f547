"""Benchmarks that nobody could run until there is a device run on a CPU, too."""

from __future__ import annotations

import pytest

from benchmarks import calibration, findings, gpu


def test_the_table_for_a_device_counts_what_is_started_and_a_lane_more_starts_little_outside_the_pass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = {"device": "cpu", "models": "yolov3-tiny-compact:32:2", "lanes": "1,2", "steps": "2"}
    gpu.main([f"--{name}={value}" for name, value in few.items()])

    header, _, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [row[3:5] for row in rows] == [["float32", "1"], ["float32", "2"], ["bfloat16", "1"], ["bfloat16", "2"]]
    assert {len(row) for row in rows} == {len(header)}
    started, outside = header.index("operators"), header.index("outside the pass")
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert 0 < int(one[outside]) < int(one[started])
        assert float(two[header.index("trial-images/s")]) > 0


@pytest.mark.parametrize("name", ["normal", "t3"])
def test_simulated_ablations_are_judged_as_they_promise(name: str) -> None:
    found = calibration.simulated(calibration.noise(name), ablations=60, rates=[0.0, 0.3], looks=[8])

    # three standard errors of 240 intervals; more than 8 of 60 come in 3 of 1,000 cases where 1 in 20 is allowed
    assert found.covered > 0.93 - 3 * (0.93 * 0.07 / 240) ** 0.5
    assert found.false <= 8 / 60
    assert found.found[1] > found.found[0]


def test_findings_of_simulated_searches_speak_where_something_is_planted_and_hardly_elsewhere() -> None:
    planted = findings.counted("edge", "random", trials=20, studies=20)
    placed = findings.counted("well placed", "random", trials=20, studies=20)

    assert planted["edge"] >= 15
    assert sum(placed.values()) <= 1
