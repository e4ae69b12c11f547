"""Our trainer in a Tune script of somebody's own, and what the page about it says, word for word."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evolve.study import Study
from tests.places import ROOT
from tests.processes import environment
from tests.test_docs import prepare

pytestmark = pytest.mark.ray
PAGE = ROOT / "docs" / "with-ray-and-optuna.md"
STUDY = Study.from_mapping(
    {
        "name": "tuned",
        "data": "digits-1",
        "epochs": 2,
        "hyperparameters": {"box": 1.0, "warmup_epochs": 0.5, "warmup_bias_lr": 0.01},
        "space": {"lr0": {"low": 1e-3, "high": 0.1}},
        "budget": {"trials": 2},
    },
    origin="test",
)


def test_the_pages_scripts_run_as_they_are_written(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    prepare(tmp_path, "tune")
    (tmp_path / "scripts.py").write_text("\n".join(blocks))

    done = subprocess.run(
        [sys.executable, "scripts.py"],
        cwd=tmp_path,
        env=environment() | {"HOME": str(tmp_path), "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    printed = [line for line in done.stdout.splitlines() if re.match(r"(0\.\d+|\{'lr0')", line)]
    assert len(blocks) == len(printed) == 3
    assert "checkpoint_00000" in printed[1]


@dataclass
class Tune:
    """What Tune gives a training and hears of it, without processes."""

    folder: Path
    given: Path | None = None
    reports: list[dict[str, Any]] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def get_checkpoint(self) -> Any:
        from ray import tune

        return None if self.given is None else tune.Checkpoint.from_directory(self.given)

    def report(self, metrics: dict[str, Any], *, checkpoint: Any = None) -> None:
        self.reports.append(metrics)
        if checkpoint is not None:
            self.kept.append(self.folder / str(len(self.kept)))
            shutil.copytree(checkpoint.path, self.kept[-1])


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, given: Path | None = None, **config: Any) -> Tune:
    import ray.tune

    from evolve.tune import trainable

    folder.mkdir()
    stand_in = Tune(folder, given)
    monkeypatch.setattr(ray.tune, "get_checkpoint", stand_in.get_checkpoint)
    monkeypatch.setattr(ray.tune, "report", stand_in.report)
    trainable(STUDY)(config)
    return stand_in


def test_a_training_goes_on_from_tunes_checkpoint_and_with_new_numbers_from_another_trials_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from detector.checkpoint import load
    from evolve.run.lending import TrainingFailedError

    whole = trained(tmp_path / "whole", monkeypatch, lr0=0.02)
    again = trained(tmp_path / "again", monkeypatch, whole.kept[0], lr0=0.02)
    other = trained(tmp_path / "other", monkeypatch, whole.kept[0], lr0=1e-9, weight_decay=0.0)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "checkpoint.pt").write_bytes(b"no checkpoint")

    assert [each["epoch"] for each in whole.reports] == [0, 1] and len(whole.kept) == 2
    assert again.reports == whole.reports[1:]
    assert [each["epoch"] for each in other.reports] == [1]
    donor, heir = (load(kept / "checkpoint.pt").weights for kept in (whole.kept[0], other.kept[0]))
    moved = {name for name, value in donor.items() if not torch.allclose(value, heir[name], atol=1e-6)}
    # With next to no rate the weights stay; the running statistics of norms follow the batches.
    assert all("running" in name or "num_batches" in name for name in moved), moved
    with pytest.raises((TrainingFailedError, ValueError), match="not a readable checkpoint"):
        trained(tmp_path / "refused", monkeypatch, tmp_path / "broken", lr0=0.02)


def test_a_divergence_is_reported_in_finite_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (report,) = trained(tmp_path / "diverged", monkeypatch, lr0=1e5).reports

    assert report["fitness"] == 0.0 and report["diverged"] == 1
    assert all(math.isfinite(value) for value in report.values()) and report["box_loss"] == 1e30


def test_what_is_no_hyperparameter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"param_space: \['learning_rate'\] are no hyperparameters"):
        trained(tmp_path / "refused", monkeypatch, learning_rate=0.1)
