"""What is done about large gradients before an update, and the average of the weights after it."""

from __future__ import annotations

from dataclasses import dataclass

from detector.declaration import choice, number
from detector.families import AVERAGE, OPTIMIZER

_ADAPTIVE, _SPIKES = (("clipping", "adaptive"),), (("on_spike", "skip", "rewind"),)


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Clipping, what becomes of a spike, and the average of the weights."""

    clipping: str = choice(
        OPTIMIZER,
        "How large gradients are made smaller: all of it to a norm, value by value, all of it where the norm is "
        "unusual (ZClip), or not at all.",
        ("norm", "value", "adaptive", "none"),
    )
    clip_norm: float = number(
        10.0,
        0.0,
        1e9,
        OPTIMIZER,
        "Largest gradient norm of a lane, 0 for no clipping.",
        needs=(("clipping", "norm"),),
    )
    clip_value: float = number(
        1.0, 0.0, 1e9, OPTIMIZER, "Largest value of a gradient, 0 for no clipping.", needs=(("clipping", "value"),)
    )
    clip_z: float = number(
        2.5, 0.0, 100.0, OPTIMIZER, "A norm further above its mean is clipped.", unit="deviations", needs=_ADAPTIVE
    )
    clip_decay: float = number(0.97, 0.0, 0.9999, OPTIMIZER, "Decay of that mean and deviation.", needs=_ADAPTIVE)
    clip_warmup: float = number(
        25.0, 1.0, 1e6, OPTIMIZER, "First updates, measured and not clipped.", unit="updates", needs=_ADAPTIVE
    )
    on_spike: str = choice(
        OPTIMIZER,
        "What becomes of an update whose gradient norm is a spike: it is made, skipped, or skipped with the weights "
        "taken back to those before.",
        ("none", "skip", "rewind"),
    )
    spike_z: float = number(
        6.0, 0.0, 1e6, OPTIMIZER, "A norm further above its mean is a spike.", unit="deviations", needs=_SPIKES
    )
    spike_decay: float = number(0.97, 0.0, 0.9999, OPTIMIZER, "Decay of that mean and deviation.", needs=_SPIKES)
    spike_warmup: float = number(
        25.0, 1.0, 1e6, OPTIMIZER, "First updates, none of which is a spike.", unit="updates", needs=_SPIKES
    )
    rewind_steps: float = number(
        20.0,
        1.0,
        1e6,
        OPTIMIZER,
        "Weights are taken back by so many updates at least, and by less than twice as many.",
        unit="updates",
        needs=(("on_spike", "rewind"),),
    )
    ema_decay: float = number(0.999, 0.0, 0.99999, AVERAGE, "Decay of the moving average of the weights, 0 for none.")
