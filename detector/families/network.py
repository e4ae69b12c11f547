"""What the network is made of besides its layer table, and what it starts from."""

from __future__ import annotations

from dataclasses import dataclass

from detector.declaration import choice, declared, number
from detector.families import NETWORK, START


@dataclass(frozen=True, kw_only=True)
class Network:
    """Norms and heads, and the first weights."""

    normalisation: str = choice(
        NETWORK,
        "What keeps the scale of what layers pass on: norms over batches, over groups of an image's channels, or none.",
        ("batch", "group", "none"),
        is_shared=True,
    )
    head: str = choice(
        NETWORK,
        "Whether boxes and classes are read from the same features, or each from convolutions of its own.",
        ("coupled", "decoupled"),
        is_shared=True,
    )
    initialiser: str = choice(
        START,
        "Distribution of the first kernels: torch's uniform one, He's or Glorot's for the layer, or one for all.",
        ("uniform", "he_normal", "he_uniform", "xavier", "normal"),
    )
    init_std: float = number(
        0.02, 0.0, 10.0, START, "Standard deviation of the first kernels.", needs=(("initialiser", "normal"),)
    )
    prior_bias: bool = declared(
        True,
        START,
        "Whether outputs start with as many objects, and of each class, as the labels have; if not, biases start at 0.",
        choices=(True, False),
    )
