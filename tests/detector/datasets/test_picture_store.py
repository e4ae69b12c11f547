"""Decoded pictures that the processes of a run share: decoded once, the same everywhere, and never in the way."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.datasets import Dataset, open_dataset, picture_store
from detector.datasets.picture_store import PictureStore, SharedPictures
from detector.datasets.pictures import Flaw, Picture, read_picture
from tests.detector.datasets.photographs import Folder, cut, exif_block, folder_of, noise, noise_file, noise_image
from tests.processes import CONTEXT


class _Disk(NamedTuple):
    total: int
    used: int
    free: int


def _roomy(_: Path) -> _Disk:
    return _Disk(total=2**40, used=2**39, free=2**39)


@pytest.fixture(autouse=True)
def roomy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", _roomy)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (folder := tmp_path / "pictures").mkdir()
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Image files in the order in which this process decodes them."""
    files: list[Path] = []
    monkeypatch.setattr(picture_store, "read_picture", _counting(files))
    return files


def _counting(files: list[Path]) -> Callable[..., Picture]:
    def counting(path: Path, *, longest: int) -> Picture:
        files.append(path)
        return read_picture(path, longest=longest)

    return counting


def _samples(dataset: Dataset) -> Iterator[Any]:
    for split in dataset.splits().values():
        yield from (split.sample(index, 0) for index in range(len(split)))


def _seen(dataset: Dataset) -> list[tuple[object, ...]]:
    """All that training and evaluation see of a data set."""
    return [
        (tuple(each.image.shape), sha256(each.image.numpy().tobytes()).hexdigest(), each.boxes_M4.tolist())
        for each in _samples(dataset)
    ]


def _store(shared: Path | None, *, longest: int = 100, max_bytes: int = 2**20) -> PictureStore:
    return PictureStore(longest=longest, max_bytes=max_bytes, shared=shared)


def _same(one: Picture, other: Picture) -> bool:
    known = [(each.size, each.orientation, each.flaws) for each in (one, other)]
    return torch.equal(one.image, other.image) and known[0] == known[1]


# The round trip


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    size=st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
    orientation=st.integers(1, 8),
    messages=st.lists(st.text(max_size=80), max_size=3),
)
def test_a_picture_of_any_size_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    height: int,
    size: tuple[int, int],
    orientation: int,
    messages: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("pictures")
    image = noise_image(folder.with_suffix(".images") / "a.png")
    pixels = np.random.default_rng(width).integers(0, 256, (3, height, width), dtype=np.uint8)
    flaws = tuple(Flaw(kind="bad_exif", message=message) for message in messages)
    picture = Picture(image=torch.from_numpy(pixels), size=size, orientation=orientation, flaws=flaws)

    assert SharedPictures(folder, longest=150).add(image, picture)
    found = SharedPictures(folder, longest=150).read(image)

    assert found is not None and _same(found, picture)


def test_a_shared_data_set_is_the_one_that_is_not_shared(folder: Folder, shared: Path) -> None:
    cut(folder.image("a"), 20)
    noise(1).save(folder.image("b"), exif=exif_block(65537, kind=4))
    noise(2).save(folder.image("c"), exif=exif_block(6))
    folder.image("d").write_bytes(b"")

    alone = folder.open(skip_unreadable=True)
    first, second = (folder.open(skip_unreadable=True, pictures=shared) for _ in range(2))

    assert _seen(first) == _seen(second) == _seen(alone)
    assert first.findings == second.findings == alone.findings and first.files == alone.files
    assert {"cut_short", "bad_exif", "unreadable"} <= {finding.kind for finding in first.findings}


# One copy, decoded once


def _open_and_report(root: Path, shared: Path, answer: Any) -> None:
    shutil.disk_usage = _roomy  # type: ignore[assignment]
    files: list[Path] = []
    picture_store.read_picture = _counting(files)  # type: ignore[attr-defined]
    seen = _seen(open_dataset(str(root), image_size=64, pictures=shared))
    answer.send((seen, len(files)))


def test_a_second_process_reads_the_firsts_pixels_and_decodes_none(
    shared: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    splits = {"train": "abcdef", "val": "gh"}
    listed = {split: [noise_file(tmp_path / "made", stem) for stem in stems] for split, stems in splits.items()}
    folder = folder_of(tmp_path / "set", "yolo", listed)
    first = _seen(folder.open(pictures=shared))
    ours, theirs = CONTEXT.Pipe(duplex=False)

    process = CONTEXT.Process(target=_open_and_report, args=(folder.root, shared, theirs))
    process.start()
    second, num_decoded = ours.recv()
    process.join()

    assert len(decoded) == 8
    assert num_decoded == 0 and second == first


def test_what_is_shared_takes_no_memory_of_the_process_for_the_next_epoch(shared: Path, tmp_path: Path) -> None:
    files = [noise_image(tmp_path / f"{number}.png", number) for number in range(3)]
    store = _store(shared)
    pixels = [store.read(file).image for file in files]

    assert len(store) == 0 and len(list(shared.iterdir())) == 3
    pixels[0].zero_()
    assert _same(store.read(files[0]), read_picture(files[0], longest=100))


def test_processes_that_begin_at_once_divide_the_work(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [noise_image(tmp_path / f"{number}.png", number) for number in range(60)]
    files: list[Path] = []
    count = _counting(files)

    def slow(path: Path, *, longest: int) -> Picture:
        time.sleep(0.002)
        return count(path, longest=longest)

    monkeypatch.setattr(picture_store, "read_picture", slow)
    with ThreadPoolExecutor(max_workers=3) as threads:
        list(threads.map(lambda _: _store(shared).share(images), range(3)))

    assert set(files) == set(images)
    assert len(files) < 1.5 * len(images)  # in one order it would be 3 times as many


def test_nothing_is_decoded_ahead_where_nothing_is_shared(tmp_path: Path, decoded: list[Path]) -> None:
    _store(None).share([noise_image(tmp_path / "a.png")])

    assert decoded == []


def test_pictures_of_two_sizes_are_two_pictures(shared: Path, tmp_path: Path) -> None:
    image = noise_image(tmp_path / "a.png", size=(40, 20))

    large, small = (_store(shared, longest=longest).read(image) for longest in (40, 20))

    assert large.image.shape == (3, 20, 40) and small.image.shape == (3, 10, 20)


# Files that change


def test_an_image_that_has_changed_is_decoded_anew_by_who_opens_it_next(
    shared: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    image = noise_image(tmp_path / "a.png", 1)
    before = _store(shared).read(image)
    stamp = image.stat().st_mtime_ns
    noise_image(image, 2)
    os.utime(image, ns=(stamp + 1, stamp + 1))  # in the same tick of a coarse clock it would be told by its size alone

    after = _store(shared).read(image)

    assert len(decoded) == 2
    assert not torch.equal(before.image, after.image)
    assert _same(after, read_picture(image, longest=100))


@pytest.mark.parametrize("what", ["removed", "changed"])
def test_a_training_goes_on_with_the_picture_that_was_checked(what: str, shared: Path, tmp_path: Path) -> None:
    image = noise_image(tmp_path / "a.png", 1)
    store = _store(shared)
    before = store.read(image)
    image.unlink()
    if what == "changed":
        noise_image(image, 2, size=(30, 30))

    assert _same(store.read(image), before)


def test_an_image_that_changes_while_it_is_decoded_is_not_shared(shared: Path, tmp_path: Path) -> None:
    image = noise_image(tmp_path / "a.png", 1)
    pictures = SharedPictures(shared, longest=100)
    assert pictures.read(image) is None
    picture = read_picture(image, longest=100)
    noise_image(image, 2, size=(30, 30))

    assert not pictures.add(image, picture)
    assert list(shared.iterdir()) == [] and pictures.takes


# Where nothing can be shared


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["mkstemp", "_head", "Path.replace"])
def test_a_full_disk_changes_nothing_but_whose_memory_it_is(
    call: str, folder: Folder, shared: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Path]
) -> None:
    alone = _seen(folder.open())
    decoded.clear()
    target: Any = Path if call == "Path.replace" else picture_store
    monkeypatch.setattr(target, call.removeprefix("Path."), _no_space)

    dataset = folder.open(pictures=shared)

    assert _seen(dataset) == _seen(dataset) == alone
    assert len(decoded) == 8  # each once: kept by this process
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize(
    ("total", "free"), [(2**40, 2**36), (2**32, 2**30 - 1), (2**32, 2**30 + 100)], ids=["tenth", "gigabyte", "after it"]
)
def test_what_is_left_of_a_disk_is_for_checkpoints(
    total: int, free: int, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Disk(total=total, used=total - free, free=free))
    image = noise_image(tmp_path / "a.png")
    store = _store(shared)

    picture = store.read(image)

    assert store.read(image) is picture and len(store) == 1
    assert list(shared.iterdir()) == []


def test_pictures_that_fit_nowhere_are_decoded_each_time_and_not_ahead(
    shared: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    images = [noise_image(tmp_path / f"{number}.png", number) for number in range(9)]
    shutil.rmtree(shared)
    store = _store(shared, max_bytes=0)
    store.share(images)
    ahead = len(decoded)

    assert ahead == 1  # then nothing more could be shared
    assert _same(store.read(images[0]), store.read(images[0])) and len(decoded) == ahead + 2


def test_a_folder_that_goes_while_a_training_reads_from_it_does_no_harm(folder: Folder, shared: Path) -> None:
    dataset = folder.open(pictures=shared)
    before = _seen(dataset)
    shutil.rmtree(shared)

    assert _seen(dataset) == before
    assert not shared.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[data.index(b"\n") :],
        lambda data: b"[1, 2]" + data[data.index(b"\n") :],
        lambda data: data.replace(b'"orientation": 1, ', b""),
        lambda data: data.replace(b"[3, 20, 40]", b"[3, 2000000, 4000000]"),
        lambda data: data.replace(b"[3, 20, 40]", b"[3, -20, -40]"),
        lambda data: data.replace(b"[40, 20]", b"40"),
        lambda data: data.replace(b'"flaws": []', b'"flaws": [{"mood": 1}]'),
        lambda data: b"\xff" + data,
    ],
)
def test_a_damaged_file_is_as_one_that_is_not_there_and_is_written_again(
    damage: Callable[[bytes], bytes], shared: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    image = noise_image(tmp_path / "a.png", size=(40, 20))
    whole = _store(shared).read(image)
    (file,) = shared.iterdir()
    data = file.read_bytes()
    file.write_bytes(damage(data))

    found = [_store(shared).read(image) for _ in range(2)]

    assert all(_same(each, whole) for each in found)
    assert len(decoded) == 2 and file.read_bytes() == data
