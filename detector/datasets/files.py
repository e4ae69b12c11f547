"""Data sets of image files: entries are checked, decoded once, and become splits.

Shapes: M boxes of an image.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detector.datasets.audit import Audit, Entry, LabelledObject, check_entry, upright_entry
from detector.datasets.duplicates import pixel_digest
from detector.datasets.listing import DataError, Dataset, Original, Sample, UnreadableImagesError
from detector.datasets.picture_store import PictureStore
from detector.datasets.pictures import READABLE, Picture
from detector.datasets.spelling import note_misspelt


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a reader of some format found.

    Attributes:
        source: The file or folder it was read from.
        names: Class names by index.
        entries: Entries of train, val and test, whichever the data set tells apart; train is always there.
        note: Where the splits come from.
    """

    source: str
    names: tuple[str, ...]
    entries: Mapping[str, Sequence[Entry]]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotated:
    """An image file with its boxes.

    Attributes:
        image: Path of the image file.
        size: Width and height of its image in pixels, upright.
        upright_M4: Boxes in pixels of that image, float64.
        boxes_M4: Boxes in pixels of the image as the store returns it, float32.
        labels_M: Class index of each box, int64.
    """

    image: Path
    size: tuple[int, int]
    upright_M4: Tensor
    boxes_M4: Tensor
    labels_M: Tensor


class FileSplit:
    """Images of one split, from memory or from disk."""

    def __init__(self, items: Sequence[Annotated], store: PictureStore) -> None:
        self._items = tuple(items)
        self._store = store

    def __len__(self) -> int:
        return len(self._items)

    def sample(self, index: int, epoch: int) -> Sample:  # noqa: ARG002  files are the same in every epoch
        """Image `index` and its boxes; tensors are shared with the store and not to be written to.

        Raises:
            DataError: The file can no longer be read.
        """
        item = self._items[index]
        return Sample(image=self._store.read(item.image).image, boxes_M4=item.boxes_M4, labels_M=item.labels_M)

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of the file's image, upright, before it was shrunk."""
        return self._items[index].size

    def original(self, index: int) -> Original:
        """The file of image `index`, and its boxes as its label file has them, cut to the image."""
        item = self._items[index]
        x0, y0, x1, y1 = item.upright_M4.unbind(1)
        boxes = tuple(zip(x0.tolist(), y0.tolist(), x1.tolist(), y1.tolist(), strict=True))
        return Original(image=item.image, size=item.size, boxes=boxes, labels=tuple(item.labels_M.tolist()))


def build(listing: Listing, audit: Audit, store: PictureStore, seed: int) -> Dataset:
    """A data set from what a format's reader found: every image is decoded and every box checked.

    Args:
        listing: Entries by split. Without val, some of train is held out.
        audit: What the reader noted so far; says whether images that cannot be read are left out.
        store: Decodes images and keeps them.
        seed: Seed of the random choice of held-out images.

    Raises:
        UnreadableImagesError: Images cannot be read, and nothing else is wrong.
        DataError: Anything else prevents training.
    """
    if not all(listing.entries.values()):
        audit.raise_problems()  # they say why a split has no images
    entries, note = _splits(listing, audit, seed)
    kept = _checked(entries, audit, store)
    audit.raise_problems()
    _refuse_empty(listing.source, kept, entries, audit)
    note_misspelt(listing.names, [entry for listed in entries.values() for entry in listed], audit)
    counts = {split: _counts(items, len(listing.names)) for split, items in kept.items()}
    _check_training_boxes(listing, counts["train"], len(kept["train"]), audit)
    return Dataset(
        source=listing.source,
        names=listing.names,
        train=FileSplit(kept["train"], store),
        val=FileSplit(kept["val"], store),
        test=FileSplit(kept["test"], store) if "test" in kept else None,
        findings=tuple(audit.findings),
        note=note,
        max_boxes=max((1, *(len(item.labels_M) for items in kept.values() for item in items))),
        augments=True,
        box_counts=counts,
        files=_digests(Path(listing.source), kept),
    )


def _splits(listing: Listing, audit: Audit, seed: int) -> tuple[dict[str, list[Entry]], str]:
    """As `with_held_out`, of images that are listed once; where that refuses and the check goes on, what there is."""
    listing = replace(listing, entries={split: _once(listed, audit) for split, listed in listing.entries.items()})
    try:
        return with_held_out(listing, seed)
    except DataError as error:
        audit.refused(listing.source, error)
    return {"train": [], "val": []} | {split: list(listed) for split, listed in listing.entries.items()}, listing.note


def _checked(entries: Mapping[str, list[Entry]], audit: Audit, store: PictureStore) -> dict[str, list[Annotated]]:
    """Images that can be read, with the boxes that can be trained on; those with broken labels are left out."""
    broken = audit.broken(entry for listed in entries.values() for entry in listed)
    store.share(entry.image for listed in entries.values() for entry in listed)
    seen: dict[bytes, tuple[str, Path]] = {}
    kept: dict[str, list[Annotated]] = {split: [] for split in entries}
    for split, listed in entries.items():
        for entry in listed:
            if (picture := _read(entry, store, audit)) is not None:
                _note_duplicate(picture, entry.image, split, seen, audit)
                if entry.image not in broken:
                    kept[split].append(_annotated(entry, picture, audit))
    return kept


def _check_training_boxes(listing: Listing, counts: Sequence[int], num_images: int, audit: Audit) -> None:
    """Refuses a training split without boxes, and notes classes that have none there."""
    if not sum(counts):
        message = f"{listing.source}: no box in the {num_images} training images; allowed: at least one"
        audit.refused(listing.source, DataError(message))
    for name, count in zip(listing.names, counts, strict=True):
        if not count:
            audit.finding("unused_class", Path(listing.source), None, f"class {name} has no box in the training split")


def with_held_out(listing: Listing, seed: int) -> tuple[dict[str, list[Entry]], str]:
    """Entries with a val split, and a note on how it was made.

    Without val, a tenth of train is held out for it, and another tenth for test if that is missing too.

    Raises:
        DataError: A split that is listed has no images, or there are too few to hold one out.
    """
    entries = {split: list(listed) for split, listed in listing.entries.items()}
    for split, listed in entries.items():
        if not listed:
            raise DataError(f"{listing.source}: no images in {split}; allowed: at least one")
    if "val" in entries:
        return entries, listing.note
    pool = entries.pop("train")
    if len(pool) < 3:
        raise DataError(f"{listing.source}: {len(pool)} images and no val part; allowed: a val part or 3 images")
    missing = ["val"] if "test" in entries else ["val", "test"]
    tenth = max(round(len(pool) / 10), 1)
    order = np.random.default_rng(seed).permutation(len(pool))
    held_out = {split: np.sort(order[n * tenth : (n + 1) * tenth]) for n, split in enumerate(missing)}
    rest = np.sort(order[len(missing) * tenth :])
    chosen = {"train": rest, **held_out}
    note = (
        f"{listing.note}; of {len(pool)} images {', '.join(f'{len(rows)} {split}' for split, rows in chosen.items())}"
    )
    return {split: [pool[row] for row in rows] for split, rows in chosen.items()} | entries, f"{note} by seed {seed}"


def _once(listed: Sequence[Entry], audit: Audit) -> list[Entry]:
    kept: dict[Path, Entry] = {}
    for entry in listed:
        if (other := kept.get(entry.image)) is not None:
            labels = " with the labels of both" if entry.is_shared else ""
            message = f"listed twice in one split; kept once{labels}"
            audit.finding("listed_twice", entry.image, None, message, images=[entry.image])
            entry = replace(entry, objects=other.objects + entry.objects) if entry.is_shared else entry
        kept[entry.image] = entry
    return list(kept.values())


def _read(entry: Entry, store: PictureStore, audit: Audit) -> Picture | None:
    try:
        picture = store.read(entry.image)
    except UnreadableImagesError as error:
        audit.unreadable(
            entry.image, str(error).removeprefix(f"{entry.image}: ").removesuffix(f"; allowed: {READABLE}")
        )
        return None
    for flaw in picture.flaws:
        audit.finding(flaw.kind, entry.image, None, flaw.message, images=[entry.image])
    return picture


def _refuse_empty(
    source: str, kept: Mapping[str, Sequence[Annotated]], entries: Mapping[str, Sequence[Entry]], audit: Audit
) -> None:
    for split, items in kept.items():
        if not items and entries[split]:
            images = sorted({entry.image for entry in entries[split]})
            shown = ", ".join(map(str, images[:10])) + (", ..." if len(images) > 10 else "")
            labels = "" if all(map(audit.is_unreadable, images)) else " and has labels that can be understood"
            message = (
                f"none of the {len(images)} images in {split} can be read{labels} ({shown}); allowed: at least one"
            )
            audit.refused(source, DataError(f"{source}: {message}"))


def _annotated(entry: Entry, picture: Picture, audit: Audit) -> Annotated:
    entry = upright_entry(entry, picture.size, picture.orientation, audit)
    objects: list[LabelledObject] = check_entry(entry, picture.size, audit)
    upright_M4 = torch.tensor([labelled.box for labelled in objects], dtype=torch.float64).reshape(-1, 4)
    height, width = picture.image.shape[1:]
    scale = torch.tensor([width / picture.size[0], height / picture.size[1]]).repeat(2)
    labels_M = torch.tensor([labelled.label for labelled in objects], dtype=torch.int64)
    return Annotated(
        image=entry.image,
        size=picture.size,
        upright_M4=upright_M4,
        boxes_M4=upright_M4.to(torch.float32) * scale,
        labels_M=labels_M,
    )


def _note_duplicate(
    picture: Picture, image: Path, split: str, seen: dict[bytes, tuple[str, Path]], audit: Audit
) -> None:
    other_split, other = seen.setdefault(pixel_digest(picture.image), (split, image))
    if (other_split, other) == (split, image):
        return
    kind = "same_image" if other_split == split else "leak"
    message = f"in {split}: same pixels as {other} in {other_split}; both kept"
    audit.finding(kind, image, None, message, images=[image, other])


def _digests(source: Path, kept: Mapping[str, Sequence[Annotated]]) -> dict[str, str]:
    """Split of each image by its path, and a digest of the size of its file and of its boxes and classes."""
    root = source if source.is_dir() else source.parent
    return {
        os.path.relpath(item.image, root): f"{split}:{_digest(item)}" for split, items in kept.items() for item in items
    }


def _digest(item: Annotated) -> str:
    digest = blake2b(f"{item.image.stat().st_size}".encode(), digest_size=8)
    digest.update(item.boxes_M4.numpy().tobytes() + item.labels_M.numpy().tobytes())
    return digest.hexdigest()


def _counts(items: Sequence[Annotated], num_classes: int) -> tuple[int, ...]:
    by_label = Counter(label for item in items for label in item.labels_M.tolist())
    return tuple(by_label[label] for label in range(num_classes))
