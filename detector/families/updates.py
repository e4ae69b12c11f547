"""What decides the updates of the weights: rates, the optimizer, and the warm-up of both."""

from __future__ import annotations

from dataclasses import dataclass

from detector.declaration import choice, declared, number
from detector.families import OPTIMIZER, RATES, WARMUP

STEPS_AT = (0.8, 0.9)  # darknet yolov3.cfg: steps 400000 and 450000 of 500200
_WARMING = ("warmup_epochs or warmup_steps",)
_TO_LRF = ("linear", "cosine", "steps", "poly", "exponential", "cosine_restarts", "one_cycle", "plateau")
_STEPS, _PLATEAU = (("schedule", "steps"),), (("schedule", "plateau"),)


@dataclass(frozen=True, kw_only=True)
class Updates:
    """Rates, the optimizer, and the warm-up of both."""

    lr0: float = number(0.01, 0.0, 1e6, RATES, "Learning rate after warm-up.")
    lrf: float = number(
        0.01,
        0.0,
        1.0,
        RATES,
        "Learning rate at the end, as a fraction of lr0 (not an exponent).",
        unit="of lr0",
        needs=(("schedule", *_TO_LRF),),
    )
    schedule: str = choice(
        RATES,
        "Way from lr0 to lr0 * lrf. steps and poly are darknet's, exponential its exp; inverse_exponential ends at 0; "
        "plateau falls where the validation loss does not.",
        (*_TO_LRF, "constant", "inverse_exponential"),
    )
    step_at_1: float = number(
        STEPS_AT[0], 0.0, 1.0, RATES, "Where the first of the steps is.", unit="of the training", needs=_STEPS
    )
    step_at_2: float = number(
        STEPS_AT[1], 0.0, 1.0, RATES, "Where the second of the steps is.", unit="of the training", needs=_STEPS
    )
    step_share: float = number(
        0.5, 0.0, 1.0, RATES, "Power of lrf that the first step leaves; at 0.5 both are by the same.", needs=_STEPS
    )
    poly_power: float = number(4.0, 0.0, 100.0, RATES, "Power of what is left.", needs=(("schedule", "poly"),))
    lrf_exponent: float = number(
        -4.0,
        -1000.0,
        0.0,
        RATES,
        "The k of 1 - 10 ^ (k (1 - e/E)), an exponent of ten, which lrf was in 2019.",
        needs=(("schedule", "inverse_exponential"),),
    )
    restart_cycles: float = number(
        3.0, 1.0, 1e3, RATES, "Number of cosines, one after another.", needs=(("schedule", "cosine_restarts"),)
    )
    one_cycle_rise: float = number(
        0.3,
        0.0,
        0.99,
        RATES,
        "Share in which the rate rises to lr0.",
        unit="of the training",
        needs=(("schedule", "one_cycle"),),
    )
    plateau_factor: float = number(0.1, 0.0, 1.0, RATES, "Factor of each drop.", needs=_PLATEAU)
    plateau_patience: float = number(
        10.0, 0.0, 1e4, RATES, "Epochs without a better validation loss that are waited.", unit="epochs", needs=_PLATEAU
    )
    plateau_threshold: float = number(
        1e-4, 0.0, 1.0, RATES, "How much lower a better loss is.", unit="relative", needs=_PLATEAU
    )
    optimizer: str = choice(
        OPTIMIZER,
        "Rule of the update: SGD or RMSprop with momentum, AdamW or Adam with the momentum as their beta1, or Muon, "
        "whose updates of a kernel are as large in all directions.",
        ("sgd", "adamw", "adam", "rmsprop", "muon"),
    )
    momentum: float = number(0.937, 0.0, 0.9999, OPTIMIZER, "Momentum after warm-up.")
    nesterov: bool = declared(
        True,
        OPTIMIZER,
        "Whether the momentum is Nesterov's.",
        choices=(False, True),
        needs=(("momentum",), ("optimizer", "sgd", "muon")),
    )
    weight_decay: float = number(
        5e-4, 0.0, 1.0, OPTIMIZER, "Decay of convolution weights, L2 but in AdamW and Muon; biases and norms have none."
    )
    warmup_epochs: float = number(
        1.0,
        0.0,
        1e4,
        WARMUP,
        "Length of the warm-up, fractions allowed; 0 for none, if warmup_steps is 0 too.",
        unit="epochs",
    )
    warmup_steps: float = number(
        0.0,
        0.0,
        1e9,
        WARMUP,
        "Least length of the warm-up: the longer of the two counts, and darknet's burn_in is this one alone.",
        unit="batches",
    )
    warmup: str = choice(
        WARMUP,
        "Way of the rates through the warm-up. quartic is darknet's burn-in, cut_off the same but over with the first "
        "epoch; in prebias only momentum and the biases of the outputs are on their way.",
        ("linear", "quartic", "cut_off", "prebias"),
        needs=(_WARMING,),
    )
    warmup_momentum: float = number(
        0.8, 0.0, 0.9999, WARMUP, "Momentum at the first step of the warm-up.", needs=(_WARMING,)
    )
    warmup_bias_lr: float = number(
        0.1,
        0.0,
        1e6,
        WARMUP,
        "Learning rate of biases at the first step; the other rates start at 0.",
        needs=(_WARMING,),
    )
    anchor_warmup: float = number(
        0.0,
        0.0,
        1e6,
        WARMUP,
        "Batches in which predictions without a label are pulled to their cell's centre and their anchor; 0 for none.",
        unit="batches",
        needs=(("box",),),
    )
    anchor_gain: float = number(
        0.01,
        0.0,
        1e4,
        WARMUP,
        "Weight of this pull in the box term, where a match has 1 and what small_box_gain adds.",
        needs=(("anchor_warmup",), ("box",)),
    )
