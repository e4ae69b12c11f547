"""A layer table as a torch module for T lanes, and the way in and out for one lane's weights.

Letters: T lanes, N images, A anchors of a scale, S cells a side, O = 5 + classes, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.func import functional_call

from detector.choices.class_losses import CLASS_BIASES, logit_of
from detector.choices.heads import OUTPUTS
from detector.choices.initialisers import INITIALISERS
from detector.hyperparameters import Hyperparameters
from detector.models.darknet import ANCHORS_PER_SCALE, Row, rows_of
from detector.models.layers import ConvBlock, LaneConv, concatenate, max_pool

_DEFAULTS = Hyperparameters()
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPrior:
    """Outputs that the heads should have before they have learned anything.

    Attributes:
        boxes_per_image: Expected number of objects in an image.
        class_share: Share of each class among all objects.
        class_loss: What the classes are learned with, a key of `CLASS_BIASES`: what their outputs mean.
    """

    boxes_per_image: float
    class_share: tuple[float, ...]
    class_loss: str = "bce"


class Network(nn.Module):
    """T networks of the same shape that see the same images, or each its own.

    Args:
        rows: The layer table.
        lanes: Number of lanes, T.
        normalisation: What follows every convolution but outputs, a key of `NORMALISATIONS`.
    """

    def __init__(self, rows: Sequence[Row], *, lanes: int, normalisation: str) -> None:
        super().__init__()
        self.rows = tuple(rows)
        self.lanes = lanes
        self.blocks = nn.ModuleDict()
        channels = 3
        for index, row in enumerate(self.rows):
            if row.kind == "conv":
                conv = LaneConv(
                    channels, row.filters, size=row.size, stride=row.stride, lanes=lanes, reads_images=index == 0
                )
                self.blocks[str(index)] = ConvBlock(conv, normalisation=normalisation if row.is_normalised else "")
            channels = row.filters
        self._kept = {source for row in self.rows for source in row.sources}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw outputs of every head, coarsest first, each of shape (N, T, A, S, S, O).

        Args:
            images: Images that are the same for all lanes, (N, 3, H, W), or those of each lane in turn, (N, T*3, H, W).
        """
        x = images
        kept: dict[int, Tensor] = {}
        heads: list[Tensor] = []
        for index, row in enumerate(self.rows):
            if row.kind == "conv":
                x = self.blocks[str(index)](x)
            elif row.kind == "maxpool":
                x = max_pool(x, row.size, row.stride)
            elif row.kind == "upsample":
                x = functional.interpolate(x, scale_factor=row.stride, mode="nearest")
            elif row.kind == "add":
                x = x + kept[row.sources[0]]
            elif row.kind == "route":
                x = concatenate([kept[source] for source in row.sources], self.lanes)
            else:
                heads.append(self._as_anchors([kept[source] for source in row.sources] or [x]))
            if index in self._kept:
                kept[index] = x
        return heads

    def _as_anchors(self, parts: Sequence[Tensor]) -> Tensor:
        """Outputs of a head by anchor, from the parts that it puts out."""
        anchors: list[Tensor] = [x.unflatten(1, (self.lanes, ANCHORS_PER_SCALE, -1)) for x in parts]
        if len(anchors) == 1:
            return anchors[0].permute(0, 1, 2, 4, 5, 3)
        # Joined in N S S T A O order: the memory that one convolution would have put out.
        joined = torch.cat([x.permute(0, 4, 5, 1, 2, 3) for x in anchors], -1)
        return joined.permute(0, 3, 4, 1, 2, 5)

    def freeze(self, num_rows: int) -> None:
        """Makes the first rows keep their weights and statistics, whatever the others learn."""
        for index, block in self.blocks.items():
            block.requires_grad_(int(index) >= num_rows)

    def lane_state(self, lane: int) -> dict[str, Tensor]:
        """Views of one lane's parameters and buffers, under the names a one-lane network gives them."""
        return {name: lane_slice(value, lane, self.lanes) for name, value in self.state_dict(keep_vars=False).items()}

    def load_lane(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Copies a one-lane state into a lane.

        Raises:
            ValueError: A name is missing or unknown, or a shape is another one.
        """
        own = self.lane_state(lane)
        if own.keys() != state.keys():
            raise ValueError(f"weights do not fit the network: {sorted(own.keys() ^ state.keys())[:4]} differ")
        for name, value in state.items():
            if own[name].shape != value.shape:
                raise ValueError(f"weights: {name} has shape {tuple(value.shape)}, needs {tuple(own[name].shape)}")
            own[name].copy_(value)


def lane_slice(value: Tensor, lane: int, lanes: int) -> Tensor:
    """The view of dimension 0 that belongs to one of T lanes."""
    size = value.shape[0] // lanes
    return value.detach()[lane * size : (lane + 1) * size]


def all_weights(network: Network) -> dict[str, Tensor]:
    """Parameters and buffers of all lanes by name, themselves and not copies of them."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def lane_weights(network: Network, lane: int, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """One lane's parameters and buffers for a one-lane network: gradients and statistics reach those of all lanes.

    Args:
        network: Network of T lanes.
        lane: Index of the lane, 0 to T - 1.
        weights: Tensors that take the place of the network's own, by the same names, and get no gradients; None for
            its own.
    """
    values = all_weights(network) if weights is None else weights
    sizes = {name: value.shape[0] // network.lanes for name, value in values.items()}
    parts = {name: value[lane * sizes[name] : (lane + 1) * sizes[name]] for name, value in values.items()}
    if weights is None:
        return parts
    # Without a graph a part forgets that it is trained, and by that a norm knows whose statistics to take.
    return {name: part.detach().requires_grad_(values[name].requires_grad) for name, part in parts.items()}


def build_network(model: str, *, num_classes: int, lanes: int = 1, values: Hyperparameters = _DEFAULTS) -> Network:
    """A network with weights not yet set; see `initialise_lane`.

    Args:
        model: A name of `detector.plan.MODELS`.
        num_classes: Classes that it tells apart, at least 1.
        lanes: Number of lanes, T.
        values: Hyperparameters of any lane, of which those of the network are looked at; lanes share them.
    """
    return Network(rows_of(model, num_classes, values.head), lanes=lanes, normalisation=values.normalisation)


def raw_outputs(
    network: Network, images: Tensor, *, precision: str, weights: Mapping[str, Tensor] | None = None
) -> list[Tensor]:
    """Raw outputs of every head, in the type of the network's weights.

    Args:
        network: Network on any device; images are moved there.
        images: RGB, uint8, the same for all lanes, (N, 3, S, S), or those of each lane in turn, (N, T*3, S, S).
        precision: One of `detector.plan.PRECISIONS`; bfloat16 and float16 are autocast.
        weights: Tensors that take the place of the network's parameters and buffers, such as `lane_weights`; None for
            its own.
    """
    like = next(network.parameters())
    images = images.to(like.device, non_blocking=True).to(like.dtype, memory_format=torch.channels_last) / 255
    autocast = _AUTOCAST.get(precision)
    with torch.autocast(like.device.type, dtype=autocast, enabled=autocast is not None):
        heads: list[Tensor] = network(images) if weights is None else functional_call(network, dict(weights), images)
    # What follows exponentiates: always in full precision.
    return [head.to(like.dtype) for head in heads]


@torch.no_grad()
def initialise_lane(
    network: Network,
    lane: int,
    *,
    seed: int,
    prior: HeadPrior,
    image_size: int,
    values: Hyperparameters = _DEFAULTS,
) -> None:
    """Sets one lane's weights from a seed, the same for every T, and its head biases from the prior or to 0.

    The objectness bias makes the sum of all objectness equal the expected number of objects; the class biases give
    the class shares. Kernels are drawn on the CPU in float32, so that device and precision do not change the start.

    Args:
        network: A network of T lanes, changed in place.
        lane: Index of the lane, 0 to T - 1.
        seed: Seed that the kernels are drawn with.
        prior: Outputs that the heads should have at first.
        image_size: Side of the training images in pixels.
        values: Hyperparameters of the lane, of which those of the start are looked at.

    Source of the biases: Lin et al. 2017 (focal loss), section 4.1.
    """
    generator, draw = torch.Generator().manual_seed(seed), INITIALISERS[values.initialiser]
    biases_AO = _head_biases(network, prior, image_size)
    if not values.prior_bias:
        biases_AO.zero_()
    for index, block in network.blocks.items():
        assert isinstance(block, ConvBlock)
        weight = lane_slice(block.conv.weight, lane, network.lanes)
        weight.copy_(draw(weight.shape, generator, values.init_std))
        if block.bias is not None:
            part = OUTPUTS[network.rows[int(index)].outputs]
            lane_slice(block.bias, lane, network.lanes).copy_(biases_AO[:, part].flatten())


def _head_biases(network: Network, prior: HeadPrior, image_size: int) -> Tensor:
    strides = strides_of(network.rows)
    predictors = sum(ANCHORS_PER_SCALE * (image_size // stride) ** 2 for stride in strides)
    bias = torch.zeros(ANCHORS_PER_SCALE, 5 + len(prior.class_share))
    bias[:, 4] = logit_of(prior.boxes_per_image / predictors)
    bias[:, 5:] = torch.tensor([CLASS_BIASES[prior.class_loss](share) for share in prior.class_share])
    return bias


def strides_of(rows: Sequence[Row]) -> tuple[int, ...]:
    """Pixels a cell is wide, for every head, coarsest first."""
    strides: list[int] = []
    heads: list[int] = []
    stride = 1
    for row in rows:
        if row.kind == "route":
            stride = strides[row.sources[0]]
        elif row.kind == "upsample":
            stride //= row.stride
        elif row.kind in ("conv", "maxpool"):
            stride *= row.stride
        if row.kind == "yolo":
            heads.append(stride)
        strides.append(stride)
    return tuple(heads)
