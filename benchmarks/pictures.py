"""What it costs to open a data set in several processes, each with decoded pictures of its own or shared by all.

    python -m benchmarks.pictures [--data ../shared/data/raccoon] [--copies 5] [--image-size 416] [--processes 2,4]

The images of a Pascal VOC folder are copied, each under several names, so that there are many. Then so many workers as
a run would start open the copy at once, in turns with pictures of their own and with shared ones. Printed is a row
each, medians of the turns: seconds until the last had opened it, images decoded by all, the sum of the memory that is
each one's alone (USS) and of each one's part of what several have (PSS) while all hold it open, what is above that of
as many that hold nothing (they share the pages of torch), and the size of the shared files, which the kernel keeps in
memory as long as there is room. Linux; one thread each.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve.run.detection import WORKERS_NEED
from evolve.run.engines import warm_up
from evolve.run.engines.processes import CONTEXT
from evolve.run.picture_folder import picture_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What one turn came to: seconds, images decoded, and bytes."""

    seconds: float
    decoded: int
    private: int
    proportional: int
    files: int


def copied(source: Path, target: Path, copies: int) -> int:
    """Writes a VOC folder with every image and its boxes under so many names; the number of images."""
    images = sorted((source / "images").iterdir())
    for kind in ("images", "annotations"):
        (target / kind).mkdir(parents=True)
    for image in images:
        for copy in range(copies):
            shutil.copyfile(image, target / "images" / f"{image.stem}-{copy}{image.suffix}")
            boxes = source / "annotations" / f"{image.stem}.xml"
            shutil.copyfile(boxes, target / "annotations" / f"{image.stem}-{copy}.xml")
    return len(images) * copies


def memory() -> tuple[int, int]:
    """Bytes of this process that no other has, and its share of all that it has."""
    rows = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    found = {row[0]: int(row[1]) * 1024 for row in rows}
    return found["Private_Clean:"] + found["Private_Dirty:"], found["Pss:"]


def open_in_worker(pipe: Any, data: Path | None, image_size: int, pictures: Path | None) -> None:
    """A worker's opening: sends how many images it has decoded, and, when all have opened, its memory."""
    from detector.datasets import open_dataset, picture_store
    from evolve.run.detection import prepare_torch

    prepare_torch(num_threads=1)
    decode, files = picture_store.read_picture, []

    def counting(path: Path, *, longest: int) -> Any:
        files.append(path)
        return decode(path, longest=longest)

    picture_store.read_picture = counting
    pipe.recv()
    dataset = None if data is None else open_dataset(str(data), image_size=image_size, pictures=pictures)
    pipe.send(len(files))
    pipe.recv()
    pipe.send(memory())
    pipe.recv()
    del dataset


def opened(processes: int, data: Path | None, image_size: int, pictures: Path | None) -> Opened:
    """Lets so many processes open the data at once."""
    pairs = [CONTEXT.Pipe() for _ in range(processes)]
    ours = [pair[0] for pair in pairs]
    workers = [
        CONTEXT.Process(target=open_in_worker, args=(theirs, data, image_size, pictures), daemon=True)
        for _, theirs in pairs
    ]
    for worker in workers:
        worker.start()
    started = time.perf_counter()
    decoded = asked(ours)
    seconds = time.perf_counter() - started
    memories = asked(ours)
    for pipe in ours:
        pipe.send("done")
    for worker in workers:
        worker.join()
    return Opened(
        seconds=seconds,
        decoded=sum(decoded),
        private=sum(private for private, _ in memories),
        proportional=sum(proportional for _, proportional in memories),
        files=0 if pictures is None else sum(file.stat().st_size for file in pictures.iterdir()),
    )


def asked(pipes: list[Any]) -> list[Any]:
    """Answers of all processes, which are told to go on at once."""
    for pipe in pipes:
        pipe.send("go on")
    return [pipe.recv() for pipe in pipes]


def row(processes: int, kind: str, turns: list[Opened], idle: Opened) -> str:
    """A line of the table."""

    def median(name: str) -> float:
        return statistics.median(getattr(turn, name) for turn in turns)

    def mb(name: str) -> str:
        return f"{median(name) / 1e6:.0f} | {(median(name) - getattr(idle, name)) / 1e6:.0f}"

    return (
        f"| {processes} | {kind} | {median('seconds'):.1f} | {median('decoded'):.0f} | {mb('private')} | "
        f"{mb('proportional')} | {median('files') / 1e6:.0f} |"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/raccoon"))
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=416)
    parser.add_argument("--processes", default="2,4")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    warm_up(WORKERS_NEED)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        count = copied(arguments.data, folder / "data", arguments.copies)
        print(f"{count} images at {arguments.image_size} px, medians of {arguments.turns} turns")
        print("| processes | pictures | seconds | decoded | USS MB | above idle | PSS MB | above idle | files MB |")
        print("|---|---|---|---|---|---|---|---|---|")
        opened(1, folder / "data", arguments.image_size, None)  # reads the files into the kernel's memory
        for processes in map(int, arguments.processes.split(",")):
            idle = opened(processes, None, arguments.image_size, None)
            own, shared = [], []
            for _ in range(arguments.turns):
                own.append(opened(processes, folder / "data", arguments.image_size, None))
                with picture_folder(folder / "study") as pictures:
                    assert pictures is not None
                    shared.append(opened(processes, folder / "data", arguments.image_size, pictures))
            print(row(processes, "own", own, idle))
            print(row(processes, "shared", shared, idle), flush=True)


if __name__ == "__main__":
    main()
