"""What a step costs, above all on a CUDA device, by network, precision and number of lanes.

    python -m benchmarks.gpu [--models yolov3-tiny-compact:64:16,...] [--precisions float32,bfloat16] [--lanes 1,2,4]

Each row: images/s of one lane and of all lanes together (trial-images/s); the median time of a step of the whole loop,
of forward, loss and backward alone, and of making a batch alone (one thread, before it is copied to the device); what
a step starts, how much of that outside forward, loss and backward, and the share of the step in which the device works
on it, from torch's profiler; the largest memory. What of the loop's time neither the device nor the making of batches
fills is spent in starting kernels. Started are kernels, copies and fills on a CUDA device; on a CPU it is torch's
operators that compute or copy and call no other, a batch's included, and the columns that are the device's stay empty.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.trainer import WARM_STEPS, bare_seconds, loop_seconds
from detector.augment import without_augmentation
from detector.batches import TrainingOrder, training_batches
from detector.datasets import open_dataset
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.trainer import LaneSpec, Trainer

MODELS = "yolov3-tiny-compact:64:16,yolov3-compact:64:16,yolov3-tiny:160:16"
PROFILED_STEPS = 5
# Operators that look at a tensor otherwise, or make room for one.
IDLE = {
    f"aten::{name}" for name in ("as_strided", "view", "_reshape_alias", "detach", "empty", "empty_strided", "resize_")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians over the steps of one training; None for what is a device's alone, on a CPU.

    Attributes:
        step: Seconds of a step of the whole loop.
        bare: Seconds of forward, loss and backward alone.
        batch: Seconds of making a batch alone.
        started: Number of kernels, copies and fills that a step starts; of operators on a CPU.
        bare_started: The same number for forward, loss and backward alone.
        busy: Share of the step in which the device works, 0..1.
        mebibytes: Largest memory of the device that was taken, in MiB.
    """

    step: float
    bare: float
    batch: float
    started: float
    bare_started: float
    busy: float | None = None
    mebibytes: float | None = None


def measure(dataset: Dataset, plan: TrainingPlan, lanes: int, steps: int) -> Row:
    """One row: a training of its own for the loop, then its network for the pass alone."""
    on_device = plan.device.startswith("cuda")
    if on_device:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    specs = [LaneSpec(values=Hyperparameters(lr0=1e-3), seed=lane) for lane in range(lanes)]
    trainer = Trainer(plan, dataset, specs)
    training = trainer.fit()
    loop_seconds(training, WARM_STEPS)
    step = statistics.median(seconds for seconds, _ in loop_seconds(training, steps))
    mebibytes = torch.cuda.max_memory_allocated() / 2**20 if on_device else None
    # Until the record after the last one counted, so as many updates are seen as passes.
    events = profiled(on_device, lambda: loop_seconds(training, PROFILED_STEPS))
    training.close()
    bare_seconds(trainer, dataset, plan, WARM_STEPS)
    bare = statistics.median(bare_seconds(trainer, dataset, plan, steps))
    bare_events = profiled(on_device, lambda: bare_seconds(trainer, dataset, plan, PROFILED_STEPS))
    return Row(
        step=step,
        bare=bare,
        batch=batch_seconds(dataset, plan),
        started=len(events) / PROFILED_STEPS,
        bare_started=len(bare_events) / PROFILED_STEPS,
        busy=sum(event.device_time for event in events) * 1e-6 / PROFILED_STEPS / step if on_device else None,
        mebibytes=mebibytes,
    )


def profiled(on_device: bool, work: Callable[[], object]) -> list[FunctionEvent]:
    """What some work starts: events of the device, or operators of the CPU."""
    activity = ProfilerActivity.CUDA if on_device else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiler:
        work()
    events = profiler.events() or []
    if on_device:
        return [event for event in events if event.device_type == torch.profiler.DeviceType.CUDA]
    operators = [event for event in events if event.name.startswith("aten::")]
    return [event for event in operators if event.name not in IDLE and not is_composed(event)]


def is_composed(event: FunctionEvent) -> bool:
    """Whether an operator leaves the work to others."""
    return any(child.name.startswith("aten::") and child.name not in IDLE for child in event.cpu_children)


def batch_seconds(dataset: Dataset, plan: TrainingPlan, count: int = 20) -> float:
    """Median seconds of making a batch on one thread, as the trainer makes them."""
    order = TrainingOrder(
        epoch=1, seed=0, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=dataset.max_boxes
    )
    values = Hyperparameters() if dataset.augments else without_augmentation(Hyperparameters())
    batches = training_batches(dataset.train, order, values)
    seconds = []
    for place in range(min(count, len(batches))):
        started = time.perf_counter()
        batches[place]
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def line(plan: TrainingPlan, lanes: int, row: Row) -> str:
    """A row of the table."""
    rate = plan.batch_size / row.step
    device = [
        f"{row.busy:.0%}" if row.busy is not None else "-",
        f"{row.mebibytes:.0f}" if row.mebibytes is not None else "-",
    ]
    times = [f"{seconds * 1e3:.2f}" for seconds in (row.step, row.bare, row.batch)]
    started = [f"{row.started:.0f}", f"{row.started - row.bare_started:.0f}"]
    names = [plan.model, f"{plan.image_size}", f"{plan.batch_size}", plan.precision, f"{lanes}"]
    return "| " + " | ".join([*names, f"{rate:.0f}", f"{rate * lanes:.0f}", *times, *started, *device]) + " |"


HEADER = (
    "| model | px | batch | precision | lanes | images/s | trial-images/s "
    "| step ms | pass ms | batch ms | {started} | outside the pass | device busy | MiB |"
)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits-1")
    parser.add_argument("--models", default=MODELS, help="name:pixels:batch, separated by commas")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--lanes", default="1,2,4,8,16,32,64")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else platform.processor()
    print(f"torch {torch.__version__}, {name}, {arguments.data}, medians of {arguments.steps} steps\n")
    header = HEADER.format(started="launches" if arguments.device.startswith("cuda") else "operators")
    print(header)
    print("|" + "---|" * (header.count("|") - 1))
    for model, precision in itertools.product(arguments.models.split(","), arguments.precisions.split(",")):
        model_name, pixels, batch = model.split(":")
        plan = TrainingPlan(
            model=model_name,
            image_size=int(pixels),
            batch_size=int(batch),
            nominal_batch_size=int(batch),
            epochs=1000,
            device=arguments.device,
            precision=precision,
        )
        dataset = open_dataset(arguments.data, image_size=plan.image_size)
        for lanes in map(int, arguments.lanes.split(",")):
            try:
                print(line(plan, lanes, measure(dataset, plan, lanes, arguments.steps)), flush=True)
            except torch.OutOfMemoryError:
                print(f"| {model_name} | {pixels} | {batch} | {precision} | {lanes} | out of memory |", flush=True)
                break


if __name__ == "__main__":
    main()
