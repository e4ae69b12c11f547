"""What an ablation has come to, look by look, and which arms get no more seeds: pure functions of its runs.

At a look, an arm that can hardly become better any more, or is worse, is given up; one that is better for sure stops as
well. It has won only where its p, corrected for the looks, stays below 0.05 times all arms, so that nothing that other
arms show later can take that back. The p of an arm that stopped is that of its own look, and is corrected for looks and
arms as all others are. Once every arm has stopped, the baseline needs no more seeds either.

Source: Jennison & Turnbull 2000, Group Sequential Methods with Applications to Clinical Trials (stopping for futility
that is not binding adds no false rejection); Liu & Anderson 2008, On adaptive extensions of group sequential trials.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from evolve.ablation.effects import Effect, EffectVerdict, compare
from evolve.ablation.looks import ALPHA, LEAST_CHANCE, levels, over_looks, seeds_at
from evolve.ablation.runs import ArmRun
from evolve.formatting import counted, listed, number
from evolve.study.arms import ArmPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why an arm gets no more seeds.

    Attributes:
        arm: Name of the arm.
        look: The look, from 1, at which the reason was seen.
        num_seeds: Number of seeds that the arm has.
        reason: Why it gets no more, for people.
    """

    arm: str
    look: int
    num_seeds: int
    reason: str

    @property
    def text(self) -> str:
        """When and why, for people."""
        return f"no more seeds since look {self.look} ({counted(self.num_seeds, 'seed')}): {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an ablation has come to: effects, runs, and which arms get no more seeds.

    Attributes:
        effects: Effect of every arm but the baseline, each at the last look of the arm.
        runs: Runs of every arm and seed that is trained, or still may be.
        look: The last look that is complete; 1 where none is.
        looks: Number of looks in all.
        endings: Endings of the arms that get no more seeds, by the name of the arm; the baseline is among them once all
            others are.
    """

    effects: tuple[Effect, ...]
    runs: tuple[ArmRun, ...]
    look: int = 1
    looks: int = 1
    endings: Mapping[str, Ending] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Number of runs that have not ended."""
        return sum(run.outcome == "missing" for run in self.runs)

    @property
    def look_text(self) -> str:
        """Which look this is and what it asks for, for people; empty where there is only one."""
        if self.looks == 1:
            return ""
        seeds = listed([str(seeds_at(look, self.looks)) for look in range(1, self.looks + 1)])
        needed = number(levels(self.looks)[self.look - 1])
        return (
            f"look {self.look} of {self.looks}, which are after {seeds} seeds; a single arm would need a p below "
            f"{needed} here, so that all looks together are wrong in 5 of 100 cases at most"
        )


def standing(plan: ArmPlan, runs: Sequence[ArmRun], *, margin: float, through: int) -> Standing:
    """What an ablation has come to, judged look by look.

    Args:
        plan: Arms, seeds and looks of the ablation.
        runs: Runs, one for each arm and seed; one that is not among them counts as missing.
        margin: Smallest difference of practical size, above 0.
        through: Number of looks of which every trial has ended; 0 while the first one trains, whose runs so
            far count then.
    """
    baseline, *arms = [arm.name for arm in plan.arms]
    looks, endings, look = plan.num_looks, dict[str, Ending](), 1

    def at(look: int) -> tuple[Effect, ...]:
        seeds = plan.seeds[: seeds_at(look, looks)] if plan.looks else plan.seeds
        ended = {name: ending.look for name, ending in endings.items()}
        return compare(
            runs, baseline=baseline, arms=arms, seeds=seeds, margin=margin, looks=looks, look=look, ended=ended
        )

    for look in range(1, min(max(through, 1), looks) + 1):
        effects = at(look)
        if look <= through and look < looks:
            endings |= {end.arm: end for end in _endings(effects, look, looks) if end.arm not in endings}
        if len(endings) == len(arms):
            text = "no arm is left to be compared with it"
            endings[baseline] = Ending(arm=baseline, look=look, num_seeds=seeds_at(look, looks), reason=text)
            break
    return Standing(effects=effects, runs=_still_due(plan, runs, endings), look=look, looks=looks, endings=endings)


def looks_ended(plan: ArmPlan, ended: Collection[int]) -> int:
    """How many looks have no trial left to train.

    Args:
        plan: Which trial trains which arm.
        ended: Numbers of the trials that have ended.
    """
    complete = 0
    while complete < plan.num_looks and set(range(plan.first_of(complete + 1), plan.first_of(complete + 2))) <= set(
        ended
    ):
        complete += 1
    return complete


def _endings(effects: Sequence[Effect], look: int, looks: int) -> list[Ending]:
    reasons = [(effect, _why_no_more(effect, look, looks, num_arms=len(effects))) for effect in effects]
    return [
        Ending(arm=effect.arm, look=look, num_seeds=effect.num_seeds, reason=reason)
        for effect, reason in reasons
        if reason
    ]


def _why_no_more(effect: Effect, look: int, looks: int, *, num_arms: int) -> str:
    """Why an arm gets no more seeds; empty where it does."""
    p = over_looks(effect.p, look=look, looks=looks) * num_arms
    if effect.verdict is EffectVerdict.BETTER and p < ALPHA:
        return f"it is better, with p {number(p)} for all looks and arms"
    if effect.verdict is EffectVerdict.WORSE:
        return f"it is worse, with p {number(effect.p_corrected)} for all looks and arms"
    if not effect.can_win:
        return f"its chance to be better at the last look is below {LEAST_CHANCE:g}"
    return ""


def _still_due(plan: ArmPlan, runs: Sequence[ArmRun], endings: Mapping[str, Ending]) -> tuple[ArmRun, ...]:
    """The runs without those that will never be trained."""
    due = {
        arm.name: set(plan.seeds[: endings[arm.name].num_seeds] if arm.name in endings else plan.seeds)
        for arm in plan.arms
    }
    return tuple(run for run in runs if run.seed in due[run.arm])
