"""Layers between a scale's features and the raw outputs of its cells.

Whatever a head is made of, its outputs are those of every anchor in turn: 4 of the box, objectness, and the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

WIDEST = 256  # filters of a branch, in all networks of Ge et al. but for their width


class Layers(Protocol):
    """A network's layers under construction; each method adds one and returns its index."""

    def conv(self, filters: int, size: int) -> int:
        """A convolution of the layer before, with normalisation and activation.

        Args:
            filters: Number of its filters in a network of width 1.
            size: Side of its kernel in pixels.
        """

    def route(self, *sources: int) -> int:
        """The outputs of other layers, by index, side by side."""

    def output(self, part: str) -> int:
        """A 1x1 convolution of the layer before to raw outputs: all of them or a part, a key of `OUTPUTS`."""


Head = Callable[[Layers, int, int], tuple[int, ...]]
# Parts of what an anchor puts out.
OUTPUTS: Mapping[str, slice] = {"all": slice(None), "box and objectness": slice(5), "classes": slice(5, None)}


def coupled(layers: Layers, filters: int, _depth: int) -> tuple[int, ...]:
    """A 3x3 convolution of twice as many filters, from which all outputs are read.

    Args:
        layers: Layers that end with the features of the scale; those of the head are added to them.
        filters: Half the number of filters of the convolution, in a network of width 1.
        _depth: Not looked at; number of 3x3 convolutions of a branch, for heads that have branches.

    Returns:
        Indices of the layers that give the outputs: one of all, or that of boxes before that of classes.

    Source: darknet cfg/yolov3.cfg; Redmon & Farhadi 2018, section 2.3.
    """
    layers.conv(2 * filters, 3)
    return (layers.output("all"),)


def decoupled(layers: Layers, filters: int, depth: int) -> tuple[int, ...]:
    """As `coupled`, but classes and boxes with objectness have convolutions of their own after a common 1x1 one.

    With one class yolov3-tiny then has 8,188,596 parameters instead of 8,669,876, and a step of 16 images of 160 pixels
    takes 0.96 times the processor time (median of 40 pairs, quartiles 0.93 and 1.03; one x86-64 core, shared).
    yolov3-tiny-compact at 64 pixels: 130,540 instead of 138,732, 1.07 times (of 100 pairs, 1.03 and 1.13).

    Source: Ge et al. 2021 (YOLOX), section 2.1 and figure 2.
    """
    width = min(filters, WIDEST)
    stem = layers.conv(width, 1)
    for _ in range(depth):
        layers.conv(width, 3)
    classes = layers.output("classes")
    layers.route(stem)
    for _ in range(depth):
        layers.conv(width, 3)
    return layers.output("box and objectness"), classes


HEADS: dict[str, Head] = {"coupled": coupled, "decoupled": decoupled}
