"""A detector as files of other programs: darknet's weights with their cfg, ONNX, TorchScript.

Letters: N images, S side of the square the network sees in pixels, K boxes of an image, C classes.
"""

from __future__ import annotations

import copy
import io
import json
import uuid
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from detector.choices.normalisations import NORM_EPS
from detector.metrics import decode
from detector.models.darknet import ANCHORS_PER_SCALE
from detector.models.darknet_files import CFG_CODINGS, cfg_text, weights_bytes
from detector.models.network import raw_outputs
from detector.predict import Detector
from detector.start import DARKNETS

DARKNET_CPU_EPS = 1e-6  # added to the square root of the variance (darknet src/blas.c, normalize_cpu)
CERTAIN = 20.0  # a logit whose sigmoid is 1 in float32
IMAGES, BOXES, SCORES = "images", "boxes", "scores"


class ExportError(ValueError):
    """A detector cannot be written in a format; the text says why, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        files: The file asked for, then those beside it.
        notes: What whoever uses the files has to know, such as what differs there from the detector here; a sentence
            each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


class EveryBox(nn.Module):
    """A detector from images to all its boxes, in float32 on the CPU; suppression is left to whoever uses it."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = copy.deepcopy(detector.network).to("cpu", torch.float32)
        values = detector.source.values
        self.image_size, self.coding, self.class_loss = detector.image_size, values.coding, values.class_loss
        for scale, sizes in enumerate(detector.anchors):
            self.register_buffer(f"anchors_{scale}", torch.tensor(sizes), persistent=False)
        self.num_scales = len(detector.anchors)
        self.eval()

    def forward(self, images_N3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, K, 4) as corners xyxy in pixels of the square, and scores (N, K, C) in 0..1.

        Args:
            images_N3SS: Letterboxed RGB images, uint8.
        """
        heads = raw_outputs(self.network, images_N3SS, precision="float32")
        anchors = [self.get_buffer(f"anchors_{scale}") for scale in range(self.num_scales)]
        boxes_NK4, scores_NKC = decode(heads, anchors, coding=self.coding, class_loss=self.class_loss)
        return boxes_NK4.clamp(0, 1) * self.image_size, scores_NKC


def to_darknet(detector: Detector, path: Path) -> Exported:
    """Writes a `.weights` file of darknet's version 0.2, and beside it the cfg and the names of the classes.

    With a single class, where the class output is neither trained nor read here, it is written as certain.

    Args:
        detector: Detector with batch norm and a coupled head, as all in darknet. The cfg of another box coding than
            `exp` has keys that the first darknet does not know. Several classes must have been learned each by itself:
            darknet's yolo layers know no other way.
        path: Name of the `.weights` file.

    Raises:
        ExportError: The detector is normalised, has heads, or tells its classes apart, in another way.
        OSError: A file cannot be written.
    """
    source, rows, coding = detector.source, detector.network.rows, detector.source.values.coding
    # One class is certain, whatever it was learned by.
    for name in ("normalisation", "head", *(("class_loss",) if len(detector.names) > 1 else ())):
        found, allowed = getattr(source.values, name), getattr(DARKNETS, name)
        if found != allowed:
            what = name.replace("_", " ")
            raise ExportError(f"darknet has no {what} {found!r}; allowed: {allowed}; onnx and torchscript hold any")
    state = {name: value.cpu() for name, value in detector.network.lane_state(0).items()}
    notes = [_epsilon_note(state)]
    if keys := CFG_CODINGS[coding]:
        said = ", ".join(f"{key}={value}" for key, value in keys.items())
        notes.append(
            f"boxes are coded {coding}: the cfg says {said}, which AlexeyAB's darknet and OpenCV know and pjreddie's "
            "darknet does not"
        )
    if len(detector.names) == 1:
        state = _certain_of_its_class(state)
        notes.append("the only class is written as certain, since darknet multiplies objectness by it")
    cfg, names = path.with_suffix(".cfg"), path.with_suffix(".names")
    _write(path, weights_bytes(rows, state, images_seen=source.step * source.plan.batch_size))
    _write(cfg, [cfg_text(rows, detector.anchors, image_size=detector.image_size, coding=coding).encode()])
    _write(names, ["".join(f"{' '.join(name.split())}\n" for name in detector.names).encode()])
    return Exported(files=(path, cfg, names), notes=tuple(notes))


def _epsilon_note(state: dict[str, Tensor]) -> str:
    variances = torch.cat([value.double() for name, value in state.items() if name.endswith("running_var")])
    here, there = (variances + NORM_EPS).sqrt(), variances.sqrt() + DARKNET_CPU_EPS
    most = float((here / there - 1).abs().max())
    return (
        f"batch norm divides by sqrt(variance + {NORM_EPS:g}) here and in darknet on a GPU; darknet's CPU code divides "
        f"by sqrt(variance) + {DARKNET_CPU_EPS:g}: channels differ by up to {most:.2g} of their value"
    )


def _certain_of_its_class(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights, with heads of one class whose class output is always `CERTAIN`."""
    changed = dict(state)
    for bias in [name for name in state if name.endswith(".bias") and not name.endswith("norm.bias")]:
        for name, value in ((bias, CERTAIN), (bias.replace(".bias", ".conv.weight"), 0.0)):
            changed[name] = state[name].clone()
            changed[name].view(ANCHORS_PER_SCALE, 6, -1)[:, 5] = value
    return changed


def to_onnx(detector: Detector, path: Path) -> Exported:
    """Writes `EveryBox` as an ONNX file for any number of images; names, size and overlap are in its metadata.

    Raises:
        ExportError: A package that writes it is not installed.
        OSError: The file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ExportError(f"onnx needs {error.name}: pip install '.[onnx]'") from None
    program = torch.onnx.export(
        EveryBox(detector),
        (_example(detector),),
        dynamo=True,
        input_names=[IMAGES],
        output_names=[BOXES, SCORES],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, _facts(detector))
    _write(path, [model.SerializeToString()])
    return Exported(files=(path,), notes=_output_notes(detector))


def to_torchscript(detector: Detector, path: Path) -> Exported:
    """Writes `EveryBox` as a TorchScript file for any number of images, facts as of `to_onnx` in `facts.json` inside.

    Raises:
        OSError: The file cannot be written.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # torch discourages the format as a whole, and warns of shapes that are fixed here: all but N are.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(EveryBox(detector), _example(detector), check_trace=False)
        torch.jit.save(traced, buffer, _extra_files={"facts.json": json.dumps(_facts(detector))})
    _write(path, [buffer.getvalue()])
    return Exported(files=(path,), notes=_output_notes(detector))


FORMATS: dict[str, tuple[str, Callable[[Detector, Path], Exported]]] = {
    "darknet": (".weights", to_darknet),
    "onnx": (".onnx", to_onnx),
    "torchscript": (".torchscript", to_torchscript),
}


def _example(detector: Detector) -> Tensor:
    # Two images: a batch of one would be taken for a constant.
    return torch.zeros(2, 3, detector.image_size, detector.image_size, dtype=torch.uint8)


def _facts(detector: Detector) -> dict[str, str]:
    return {
        "names": json.dumps(detector.names),
        "image_size": str(detector.image_size),
        "nms_iou": f"{detector.source.plan.nms_iou:g}",
    }


def _output_notes(detector: Detector) -> tuple[str, ...]:
    side, num_classes = detector.image_size, len(detector.names)
    return (
        f"input {IMAGES}: uint8 (N, 3, {side}, {side}), RGB, letterboxed on grey",
        f"output {BOXES}: (N, K, 4) x0 y0 x1 y1 in pixels of that square; {SCORES}: (N, K, {num_classes}) in 0..1",
        f"suppression is not inside: the training's was at IoU {detector.source.plan.nms_iou:g} within each class",
    )


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex[:12]}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
