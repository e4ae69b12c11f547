"""What an ablation starts from and leads to may be named: a hyp file, a preset, another study's best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.hyperparameters import Hyperparameters
from evolve.errors import EvolveError, StudyError
from evolve.exchange.baselines import look_up_in, looks_up, uses_preset, with_baseline
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.file import StudyFile, read_study
from evolve.study.hyp import write_hyp

NET = {"model": "yolov3-tiny", "image_size": 160}
SUMMARY = {"classes": ["a", "b", "c"], "splits": {"train": {"images": 160}}}


def file_of(folder: Path, ablation: Mapping[str, Any], **changes: Any) -> StudyFile:
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({"ablation": dict(ablation), "epochs": 1, **changes}))
    return read_study(str(path))


def no_storage() -> Storage:
    raise AssertionError("nothing is to be looked up in a database")


def settled(file: StudyFile, stored: Study | None = None) -> Study:
    study = file.preview() if stored is None else file.settled_like(stored)
    assert looks_up(study)
    return with_baseline(file, study, stored, look_up_in(no_storage, study, SUMMARY))


def arms(study: Study) -> dict[str, dict[str, Any]]:
    assert study.arm_plan is not None
    return {arm.name: dict(arm.params) for arm in study.arm_plan.arms}


@pytest.fixture
def hyp(tmp_path: Path) -> Path:
    path = tmp_path / "hyp.yaml"
    write_hyp(path, Hyperparameters(lr0=0.05, momentum=0.8), training={}, header=["x"])
    return path


def test_a_hyp_file_is_the_baseline_and_the_study_stands_above_it(tmp_path: Path, hyp: Path) -> None:
    file = file_of(tmp_path, {"baseline": str(hyp), "one_factor": {"lr0": [0.1]}}, hyperparameters={"momentum": 0.7})

    study = settled(file)

    assert arms(study) == {"baseline": {"lr0": 0.05}, "lr0=0.1": {"lr0": 0.1}}
    assert study.fixed == {"lr0": 0.05, "momentum": 0.7}
    assert study.decisions["ablation.baseline"].startswith(f"{hyp}: ")


def test_an_arm_is_compared_with_the_baseline_that_is_named_and_not_with_the_defaults(
    tmp_path: Path, hyp: Path
) -> None:
    at_default = file_of(tmp_path, {"baseline": str(hyp), "one_factor": {"lr0": [Hyperparameters().lr0]}})
    assert len(arms(settled(at_default))) == 2

    same = file_of(tmp_path, {"baseline": str(hyp), "one_factor": {"lr0": [0.05]}})
    with pytest.raises(StudyError, match=r"s.yaml: ablation.one_factor.lr0=0.05: is the same as the baseline"):
        settled(same)


def test_a_path_leads_from_one_to_the_other_one_change_at_a_time(tmp_path: Path, hyp: Path) -> None:
    there = settled(file_of(tmp_path, {"path": {"from": "defaults", "to": str(hyp)}}))
    back = settled(file_of(tmp_path, {"path": {"from": str(hyp), "to": "defaults"}}))

    first, *_, last = arms(there).values()
    assert list(arms(there)) == ["baseline", "+ lr0=0.05", "+ momentum=0.8"]
    assert (last, first) == (arms(back)["baseline"], list(arms(back).values())[-1])


def test_a_preset_is_a_baseline_as_its_trainer_would_have_it(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"baseline": "ultralytics-yolov3", "one_factor": {"momentum": [0.8]}}, **NET)

    study = settled(file)

    assert uses_preset(file.preview(), None)
    assert not uses_preset(file_of(tmp_path, {"one_factor": {"lr0": [1]}}).preview(), None)
    assert study.hyperparameters({}).noobj == pytest.approx(1.5 / 16)
    assert study.decisions["ablation.baseline"].startswith("ultralytics-yolov3: ")


def test_a_stored_ablation_keeps_what_was_looked_up_whatever_the_file_says_now(tmp_path: Path, hyp: Path) -> None:
    file = file_of(tmp_path, {"path": {"to": str(hyp)}})
    stored = settled(file)
    write_hyp(hyp, Hyperparameters(lr0=0.2), training={}, header=["y"])

    again = settled(file, Study.from_json(stored.to_json()))

    assert again.differences(stored) == [] and again.decisions == stored.decisions and arms(again) == arms(stored)


def test_another_preset_than_the_stored_one_is_looked_up_and_is_another_study(tmp_path: Path) -> None:
    stored = settled(file_of(tmp_path, {"baseline": "darknet", "one_factor": {"momentum": [0.8]}}, **NET))
    other = file_of(tmp_path, {"baseline": "ultralytics-yolov3", "one_factor": {"momentum": [0.8]}}, **NET)

    assert not uses_preset(stored, stored) and uses_preset(other.preview(), stored)
    assert "hyperparameters.warmup_epochs" in settled(other, stored).differences(stored)


@pytest.mark.parametrize(
    ("ablation", "said"),
    [
        ({"baseline": "yolov5", "one_factor": {"lr0": [1]}}, "ablation.baseline: 'yolov5' is none of: defaults, a hyp"),
        ({"baseline": "none.yaml", "one_factor": {"lr0": [1]}}, "none.yaml: "),
        ({"path": {"from": "defaults", "to": "defaults"}}, "ablation.path.to: defaults changes nothing"),
        ({"baseline": "darknet", "path": {"from": "darknet", "to": "paper"}}, "a baseline beside path.from"),
    ],
)
def test_what_stands_for_nothing_is_refused(tmp_path: Path, ablation: dict[str, Any], said: str) -> None:
    with pytest.raises(EvolveError) as raised:
        settled(file_of(tmp_path, ablation))

    assert said in str(raised.value)
