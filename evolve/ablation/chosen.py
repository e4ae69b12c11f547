"""Which arm of an ablation is to be used: the best of those that are shown to be better, else the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evolve.ablation.compared import Compared
from evolve.ablation.effects import Effect, EffectVerdict
from evolve.ablation.verdicts import difference_text
from evolve.formatting import counted
from evolve.study.ablation import BASELINE

_SAID = {
    EffectVerdict.BETTER: "better than the baseline",
    EffectVerdict.WORSE: "worse than the baseline",
    EffectVerdict.EQUIVALENT: "no more than the margin from the baseline",
    EffectVerdict.UNCLEAR: "not shown to be better than the baseline",
    EffectVerdict.INCONCLUSIVE_PLAN: "not shown to be better than the baseline",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenArm:
    """An arm that is taken, and what is known of it.

    Attributes:
        arm: Name of the arm.
        trial: Number of the trial that stands for the arm: its trial of the first look, or the one that was asked for.
        effect: What the arm changes against the baseline; None for the baseline itself and a trial that only tunes.
        said: Why this arm is taken and what its verdict is, in a sentence.
        higher: Number of the trial and effect of the highest arm, where that gave way to the baseline since it is not
            shown to be better; else None.
    """

    arm: str
    trial: int
    effect: Effect | None
    said: str
    higher: tuple[int, Effect] | None = None

    @property
    def name(self) -> str:
        """Name of the arm with its trial, for people."""
        return f"{'the baseline' if self.arm == BASELINE else self.arm}, trial {self.trial}"

    def as_mapping(self) -> dict[str, Any]:
        """The arm as plain values, for machines; its effect is None for the baseline."""
        effect = None if self.effect is None else asdict(self.effect)
        is_better = self.effect is not None and self.effect.verdict is EffectVerdict.BETTER
        higher = None if self.higher is None else {"trial": self.higher[0], "effect": asdict(self.higher[1])}
        known = {"arm": self.arm, "trial": self.trial, "is_better": is_better}
        return {**known, "effect": effect, "higher": higher}


def chosen_arm(found: Compared, fitness: Mapping[int, float], *, trial: int | None = None) -> ChosenArm | None:
    """The arm of an ablation that is to be used.

    Args:
        found: The ablation with its runs and the effects of its arms.
        fitness: Fitness of the trials that trained through, by the number of the trial.
        trial: Number of the trial that a person asks for; None for what is proven, else the baseline.

    Returns:
        The arm; None where no arm is shown to be better, and no trial that is compared has trained through.
    """
    numbers = {arm.name: number for number, arm in reversed([*found.plan.verdicts()])}  # of the first look
    effects = {effect.arm: effect for effect in found.effects}
    if trial is not None:
        arm = found.plan.arm_of(trial).name
        effect = effects.get(arm) if found.plan.look_of(trial) else None
        return ChosenArm(arm=arm, trial=trial, effect=effect, said=_asked(found, arm, trial, effect))
    if better := [effect for effect in found.effects if effect.verdict is EffectVerdict.BETTER]:
        best = max(better, key=lambda effect: effect.mean)
        said = _of(best.arm, best) + _missing(found)
        return ChosenArm(arm=best.arm, trial=numbers[best.arm], effect=best, said=said)
    trained = {arm: number for arm, number in numbers.items() if number in fitness}
    if not trained:
        return None
    highest = max(trained, key=lambda arm: (fitness[trained[arm]], -trained[arm]))
    return _unproven(found, trained, highest, effects.get(highest))


def _unproven(found: Compared, trained: Mapping[str, int], highest: str, effect: Effect | None) -> ChosenArm:
    """The baseline, beside the highest arm; that one where the baseline has not trained through."""
    number = trained[highest]
    if BASELINE not in trained and effect is not None:
        said = f"the baseline did not train through with {_seeds(found)}; {_of(highest, effect)}"
        return ChosenArm(arm=highest, trial=number, effect=effect, said=said + _missing(found))
    said, higher = f"no arm is shown to be better than the baseline with {_seeds(found)}", None
    if effect is not None:
        said += f", so this is the baseline; the highest, trial {number} ({highest}): {_known(effect)}; "
        said += f"--trial {number} exports it"
        higher = (number, effect)
    return ChosenArm(arm=BASELINE, trial=trained[BASELINE], effect=None, said=said + _missing(found), higher=higher)


def _asked(found: Compared, arm: str, trial: int, effect: Effect | None) -> str:
    if not found.plan.look_of(trial):
        return f"asked for by its number: it only tunes {arm} and is not compared"
    said = f"what {counted(len(found.effects), 'arm')} are compared with" if effect is None else _of(arm, effect)
    return f"asked for by its number: {said}{_missing(found)}"


def _of(arm: str, effect: Effect) -> str:
    return f"{arm} is {_SAID[effect.verdict]}: {_known(effect)}"


def _known(effect: Effect) -> str:
    diverged = f", {effect.diverged} of them diverged" if effect.diverged else ""
    return f"{difference_text(effect)}, n {effect.num_seeds}{diverged}"


def _seeds(found: Compared) -> str:
    return counted(max(effect.num_seeds for effect in found.effects), "seed")


def _missing(found: Compared) -> str:
    if not found.missing:
        return ""
    return f"; {found.missing} of {counted(len(found.runs), 'training')} missing, so this may change"
