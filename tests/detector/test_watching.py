"""Pictures of a training: which images, how small, and that boxes lie where they were found."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from detector.batches import Batch
from detector.datasets import open_dataset
from detector.datasets.listing import Sample
from detector.hyperparameters import Hyperparameters
from detector.observations import PicturesTaken, PicturesWatched
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from detector.watching import MAX_BYTES, MAX_EPOCHS, NUM_PICTURES, batch_picture, found_boxes, is_watched, watch
from tests.places import RACCOON
from tests.scenes import few_scenes


class Listed:
    """A split of images of noise, from the classes that each has."""

    def __init__(self, classes: list[list[int]], size: tuple[int, int] = (60, 40)) -> None:
        self._classes, self._size = classes, size

    def __len__(self) -> int:
        return len(self._classes)

    def sample(self, index: int, epoch: int) -> Sample:
        width, height = self._size
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        labels = torch.tensor(self._classes[index], dtype=torch.int64)
        return Sample(
            image=image, boxes_M4=torch.tensor([[6.0, 4.0, 30.0, 20.0]]).repeat(len(labels), 1), labels_M=labels
        )

    def size(self, index: int) -> tuple[int, int]:
        return self._size


def test_images_with_labels_come_first_and_every_class_is_there() -> None:
    classes = [[index // 2 % 4] if index % 2 else [] for index in range(32)]

    chosen = watch(Listed(classes)).indices

    assert len(chosen) == NUM_PICTURES
    assert {klass for index in chosen for klass in classes[index]} == {0, 1, 2, 3}
    assert all(classes[index] for index in chosen)
    assert chosen == watch(Listed(classes)).indices == tuple(sorted(chosen))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_few_images_all_are_watched(count: int) -> None:
    assert watch(Listed([[0]] * count)).indices == tuple(range(count))


def test_pictures_are_small_whatever_is_in_them() -> None:
    watched = watch(Listed([[0]] * 8, size=(1200, 800)))

    assert [(picture.width, picture.height) for picture in watched.pictures] == [(256, 171)] * 8
    assert all(len(picture.jpeg) <= MAX_BYTES for picture in watched.pictures)
    assert watched.pictures[0].boxes == ((5, 5, 25, 25, 0),)
    assert Image.open(io.BytesIO(watched.pictures[0].jpeg)).size == (256, 171)


@pytest.mark.parametrize("epochs", [1, 2, 10, 24, 25, 300])
def test_the_first_and_the_last_epoch_are_watched_and_not_too_many_between(epochs: int) -> None:
    found = [epoch for epoch in range(epochs) if is_watched(epoch, epochs)]

    assert found[0] == 0 and found[-1] == epochs - 1
    assert min(epochs, MAX_EPOCHS // 2) <= len(found) <= MAX_EPOCHS


def test_boxes_on_the_square_come_back_as_shares_of_the_image() -> None:
    rows = np.array(
        [[16.0, 16.0, 32.0, 16.0, 0.9, 1.0], [0.0, 0.0, 64.0, 64.0, 0.5, 0.0], [0.0, 0.0, 1.0, 1.0, 0.05, 0.0]]
    )

    assert found_boxes(rows, (128, 64), 64) == ((250, 0, 750, 500, 1, 900), (0, 0, 1000, 1000, 0, 500))


def test_the_batch_is_one_picture_with_labels_in_their_images() -> None:
    labels = torch.zeros(3, 2, 5)
    labels[..., 0] = -1
    labels[2, 0] = torch.tensor([4, 0.5, 0.5, 1.0, 0.5])
    images = torch.zeros(3, 3, 64, 64, dtype=torch.uint8)

    found = batch_picture(Batch(images=images, labels_NM5=labels))

    assert (found.width, found.height) == (128, 128)
    assert found.boxes == ((0, 625, 500, 875, 4),)


def test_a_training_takes_its_pictures_once_and_says_what_it_finds_before_it_is_judged() -> None:
    plan = TrainingPlan(image_size=64, epochs=3, batch_size=8, nominal_batch_size=8)
    trainer = Trainer(plan, few_scenes("digits-3", train=16, val=12, test=4), [LaneSpec(values=Hyperparameters())])

    records = [record for record in trainer.fit() if not isinstance(record, StepTelemetry)]

    assert [record.split for record in records if isinstance(record, PicturesTaken)] == ["val", "train"]
    watched = [record for record in records if isinstance(record, PicturesWatched)]
    assert [(record.epoch, len(record.boxes)) for record in watched] == [(0, 8), (1, 8), (2, 8)]
    order = [type(record) for record in records if isinstance(record, PicturesWatched | EpochMetrics)]
    assert order == [PicturesWatched, EpochMetrics] * 3 + [EpochMetrics]


@pytest.mark.skipif(not RACCOON.is_dir(), reason="the raccoon data set is not beside the checkout")
def test_photographs_keep_within_their_bytes() -> None:
    watched = watch(open_dataset(str(RACCOON), image_size=64).val)

    assert len(watched.pictures) == NUM_PICTURES
    assert all(len(picture.jpeg) <= MAX_BYTES and picture.boxes for picture in watched.pictures)
