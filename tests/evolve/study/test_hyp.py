"""hyp.yaml: written with where it is from, read back to the same values, refused with what is allowed."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.hyperparameters import Hyperparameters, allowed_choices, names, numeric_range
from evolve.study.hyp import HypError, read_hyp, write_hyp

TRAINING = {"data": "digits-1", "model": "yolov3-tiny-compact", "epochs": 3}


@st.composite
def hyperparameters(draw: st.DrawFn) -> Hyperparameters:
    numeric = [name for name in names() if not allowed_choices(name)]
    values = {name: draw(st.floats(*numeric_range(name), allow_subnormal=False)) for name in numeric}
    chosen = {name: draw(st.sampled_from(allowed_choices(name))) for name in names() if allowed_choices(name)}
    return Hyperparameters.from_mapping(values | chosen)


@given(values=hyperparameters())
@settings(deadline=None)
def test_what_is_written_is_read_to_the_last_bit(
    values: Hyperparameters, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("hyp") / "hyp.yaml"
    write_hyp(path, values, training=TRAINING, header=["Best of study x"])

    read = read_hyp(path)

    assert read.values == values
    assert read.training == TRAINING
    assert path.read_text().startswith("# Best of study x\n")


@pytest.mark.parametrize("data", ["1e3", "0x10", "010", "no", "1:30", "2020-01-01", "~", "a: b"])
def test_a_data_set_whose_name_looks_like_a_number_keeps_it(data: str, tmp_path: Path) -> None:
    path = tmp_path / "hyp.yaml"
    write_hyp(path, Hyperparameters(), training={"data": data}, header=[])

    assert read_hyp(path).training == {"data": data}
    assert yaml.safe_load(path.read_text())["training"] == {"data": data}


def test_a_header_cannot_smuggle_keys_in(tmp_path: Path) -> None:
    path = tmp_path / "hyp.yaml"
    write_hyp(path, Hyperparameters(), training={}, header=["a study\nlr0: 99"])

    assert read_hyp(path).values == Hyperparameters()


def test_a_file_of_ones_own_may_name_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lr0: 1e-3\nnesterov: false\n")

    read = read_hyp(path)

    assert read.values == Hyperparameters(lr0=0.001, nesterov=False)
    assert read.given == ("lr0", "nesterov")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr_0: 0.1", "unknown hyperparameter 'lr_0'; did you mean 'lr0'"),
        ("lr0: 0.1\ndfl: 1.5\nanchor_t: 4", "anchor_t, dfl belong to another trainer's file"),
        ("lr0: -1", r"lr0: -1.* is outside 0..1e\+06"),
        ("lr0: fast", "'fast' is not a number"),
        ("lr0: .nan", "nan is outside"),
        ("- 1", "holds no hyperparameters"),
        ("", "holds no hyperparameters"),
        ("lr0: [", "is not YAML"),
        ("lr0: 0.1\ntraining: {modle: x}", "training: .*modle.* is not allowed"),
        ("lr0: !!python/object/apply:os.system ['true']", "line 1: tag .* is not known"),
    ],
)
def test_a_file_that_is_not_allowed_is_refused_with_its_name_and_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)

    with pytest.raises(HypError, match=rf"bad\.yaml: .*{words}"):
        read_hyp(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HypError, match=r"none\.yaml: cannot be read"):
        read_hyp(tmp_path / "none.yaml")


def test_the_file_is_plain_yaml_that_other_tools_read(tmp_path: Path) -> None:
    path = tmp_path / "hyp.yaml"
    write_hyp(path, Hyperparameters(lr0=0.02), training=TRAINING, header=[])

    assert yaml.safe_load(path.read_text())["lr0"] == 0.02


def test_what_changes_while_a_training_is_under_way_is_read_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "hyp.yaml"
    later = {2: {"lr0": 0.1 + 0.2}, 4: {"momentum": 1 / 3, "box": 1e-7}}
    write_hyp(path, Hyperparameters(), training=TRAINING, header=[], later=later)

    read = read_hyp(path)

    assert read.later == later and read.values == Hyperparameters() and read.training == TRAINING


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr0: 0.1\nfrom_epoch: {0: {lr0: 0.1}}", "from_epoch: 0 is not an epoch"),
        ("lr0: 0.1\nfrom_epoch: {2: {lr_0: 0.1}}", "from_epoch.2.lr_0: unknown hyperparameter 'lr_0'"),
        ("lr0: 0.1\nfrom_epoch: {2: {cells: square}}", "from_epoch.2.cells: is a choice"),
        ("lr0: 0.1\nfrom_epoch: 3", "from_epoch: 3 is not a mapping of epochs"),
    ],
)
def test_changes_that_are_not_allowed_are_refused_with_file_and_key(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "hyp.yaml").write_text(text)

    with pytest.raises(HypError, match=f"hyp.yaml: {words}"):
        read_hyp(tmp_path / "hyp.yaml")
