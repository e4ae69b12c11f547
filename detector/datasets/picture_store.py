"""Decoded pictures kept for the next epoch: in the memory of a process, or in files that all processes of a run read.

A shared picture is one file: a line of JSON with all but the pixels, then the pixels as they are. It is read anew each
time it is needed, out of the memory in which the kernel keeps files, of which there is one for all processes, and which
it takes back when memory is short. A run's files are worth nothing after it, so nothing waits until they are on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from random import SystemRandom
from tempfile import mkstemp

import numpy as np
import torch

from detector.datasets.listing import UnreadableImagesError
from detector.datasets.pictures import Flaw, Picture, read_picture

# What is left of a disk is for checkpoints: a run that cannot write them ends.
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 2**30, 0.1


class SharedPictures:
    """Pictures that the processes of a run have in common, each a file.

    A file is known by its image's path, size and time of change and by `longest`, so an image that has changed is
    another one to whoever opens the data anew, and stays the one that was checked to whoever has.

    Args:
        folder: Where the files are; made and removed by the run, and never made anew here.
        longest: Largest width and height of the pictures in pixels.
    """

    def __init__(self, folder: Path, *, longest: int) -> None:
        self._folder, self._longest = folder, longest
        self._files: dict[Path, Path] = {}
        self.takes = True  # whether pictures can be added; not after the first that could not

    def has(self, image: Path) -> bool:
        """Whether the picture of an image file is there."""
        file = self._file(image)
        with suppress(OSError):
            return file is not None and file.exists()
        return False

    def read(self, image: Path) -> Picture | None:
        """The picture of an image file, in memory of its own; None where it is not there, or not as it was written."""
        if (file := self._file(image)) is None:
            return None
        try:
            return _read(file)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def add(self, image: Path, picture: Picture) -> bool:
        """Lets the other processes read the picture of an image file, and says whether they can.

        They cannot where the disk is full, almost full, or not to be written to, or the image has changed meanwhile.
        """
        file = self._file(image)
        if not self.takes or file is None or file != self._file_now(image):
            return False
        try:
            self.takes = self._has_room(picture.image.numel())
            if self.takes:
                self._write(file, picture)
        except OSError:
            self.takes = False
        return self.takes

    def _file(self, image: Path) -> Path | None:
        """The file for an image as it was when it was first asked for; None where there is no such image."""
        if (known := self._files.get(image)) is None and (known := self._file_now(image)) is not None:
            self._files[image] = known
        return known

    def _file_now(self, image: Path) -> Path | None:
        try:
            found = image.stat()
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return None
        key = (str(image.absolute()), found.st_size, found.st_mtime_ns, self._longest)
        return self._folder / blake2b(repr(key).encode(), digest_size=16).hexdigest()

    def _has_room(self, num_bytes: int) -> bool:
        disk = shutil.disk_usage(self._folder)
        return disk.free - num_bytes >= max(LEAST_FREE_BYTES, disk.total * LEAST_FREE_SHARE)

    def _write(self, file: Path, picture: Picture) -> None:
        """Writes the file whole or not at all, whatever ends this process, and whoever writes the same."""
        number, name = mkstemp(dir=self._folder)
        try:
            with os.fdopen(number, "wb") as unfinished:
                unfinished.write(_head(picture))
                unfinished.write(picture.image.numpy().data)
            Path(name).replace(file)
        except OSError:
            with suppress(OSError):
                Path(name).unlink()
            raise


def _head(picture: Picture) -> bytes:
    known = {
        "shape": list(picture.image.shape),
        "size": picture.size,
        "orientation": picture.orientation,
        "flaws": [asdict(flaw) for flaw in picture.flaws],
    }
    return json.dumps(known).encode() + b"\n"


def _read(file: Path) -> Picture:
    """The picture in a file.

    Raises:
        OSError, ValueError, KeyError, TypeError: It is not there, or not as it was written.
    """
    with file.open("rb") as opened:
        head = opened.readline()
        known = json.loads(head)
        num_channels, height, width = known["shape"]
        # Asked before so much memory is: a disk may have damaged the numbers.
        if num_channels != 3 or os.fstat(opened.fileno()).st_size != len(head) + 3 * height * width:
            raise ValueError(f"{file}: is not whole")
        pixels = np.empty((3, height, width), dtype=np.uint8)
        if opened.readinto(pixels.data) != pixels.size:
            raise ValueError(f"{file}: is not whole")
    across, down = known["size"]
    flaws = tuple(Flaw(**flaw) for flaw in known["flaws"])
    return Picture(image=torch.from_numpy(pixels), size=(across, down), orientation=known["orientation"], flaws=flaws)


class PictureStore:
    """Reads image files; what is decoded is shared with the other processes of a run, or kept as far as it fits.

    Args:
        longest: Largest width and height of the pictures in pixels.
        max_bytes: Memory of this process for pictures that are not shared.
        shared: Folder of a run for the pictures of all its processes; None where this process is alone.
    """

    def __init__(self, *, longest: int, max_bytes: int, shared: Path | None = None) -> None:
        self._longest = longest
        self._bytes_left = max_bytes
        self._kept: dict[Path, Picture] = {}
        self._shared = None if shared is None else SharedPictures(shared, longest=longest)

    def __len__(self) -> int:
        """Number of pictures in the memory of this process."""
        return len(self._kept)

    def share(self, paths: Iterable[Path]) -> None:
        """Decodes what no process of the run has decoded yet, as long as it can be shared.

        Each process goes its own way through the files. In one order, processes that begin at once would meet at every
        file and decode all of them each; so they divide the work, and only a few of the last are decoded twice.
        """
        ways = list(dict.fromkeys(paths)) if self._shared is not None else []
        SystemRandom().shuffle(ways)
        for path in ways:
            if self._shared is None or not self._shared.takes:
                return
            if not self._shared.has(path):
                with suppress(UnreadableImagesError):  # for whoever reads it to tell
                    self.read(path)

    def read(self, path: Path) -> Picture:
        """The picture in a file, decoded where neither this process nor its run has it.

        Raises:
            UnreadableImagesError: The file cannot be read as an image, or a large part of it is missing.
        """
        if (kept := self._kept.get(path)) is not None:
            return kept
        if self._shared is not None and (shared := self._shared.read(path)) is not None:
            return shared
        picture = read_picture(path, longest=self._longest)
        is_shared = self._shared is not None and self._shared.add(path, picture)
        if not is_shared and picture.image.numel() <= self._bytes_left:
            self._bytes_left -= picture.image.numel()
            self._kept[path] = picture
        return picture
