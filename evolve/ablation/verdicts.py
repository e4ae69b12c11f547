"""What is known of an arm, what may be said of it, and the sentence that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isnan, nan

from evolve.ablation.looks import ALPHA
from evolve.formatting import counted, listed, number
from evolve.study.arms import least_seeds


class EffectVerdict(StrEnum):
    """What may be said of an arm."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNCLEAR = "unclear"
    INCONCLUSIVE_PLAN = "inconclusive plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an arm changes against the baseline; differences are arm minus baseline, higher is better.

    Attributes:
        arm, baseline: Names of the arm, and of the baseline that it is compared with.
        num_seeds: Number of seeds over which both are compared, finished or not.
        n_pairs: Number of seeds with which both finished; mean and interval are theirs.
        mean: Mean difference in units of the metric; NaN if there is no such pair.
        low, high: Ends of Student's interval, NaN below three pairs. It covers 95 %, or at one look of several as much
            as that look may conclude with; for skewed differences less than it says (88 % at five pairs).
        bca_low, bca_high: Ends of the 95 % bootstrap interval; None below 20 pairs.
        p: Two-sided p of the differences of all seeds: exact up to 16 of them, else of 32,768 random flips of signs.
        p_corrected: That p, corrected for all looks and, by Holm, for all arms.
        wins, losses, ties, unknown: Number of pairs that the arm wins, loses or ties, or of which nobody knows; a run
            that diverged loses, one that failed or is missing makes its pair unknown.
        win_share, win_low, win_high: Wins and half the ties as a share of all seeds, with Wilson's 95 % interval.
        diverged, failed, missing: Number of runs of the arm without a value, by the reason.
        baseline_diverged, baseline_failed, baseline_missing: Number of runs of the baseline without a value.
        divergence_p: McNemar's exact p that both diverge equally often, corrected as p is.
        equivalence_p: p of two one-sided tests, small where the mean lies within the margin, corrected as p is; 1 below
            three pairs.
        look: The look, from 1, whose seeds it rests on.
        can_win: Whether seeds of later looks could still make the arm better; True at the last look.
        seeds_needed: How many more seeds would decide; 0 if it is decided, None if that cannot be said.
        verdict: What may be said of the arm.
        sentence: What follows from the verdict, for people; empty before the effect is judged.
    """

    arm: str
    baseline: str
    num_seeds: int
    n_pairs: int
    mean: float
    low: float
    high: float
    bca_low: float | None
    bca_high: float | None
    p: float
    p_corrected: float
    wins: int
    losses: int
    ties: int
    unknown: int
    win_share: float
    win_low: float
    win_high: float
    diverged: int
    failed: int
    missing: int
    baseline_diverged: int
    baseline_failed: int
    baseline_missing: int
    divergence_p: float
    equivalence_p: float
    look: int
    can_win: bool
    seeds_needed: int | None
    verdict: EffectVerdict
    sentence: str = ""

    @property
    def shown_p(self) -> float:
        """The corrected p for people; NaN while no pair is known, since missing runs alone then make it."""
        return nan if self.unknown == self.num_seeds else self.p_corrected


def judged(effect: Effect, *, margin: float, planned: int, num_arms: int, more: int | None) -> Effect:
    """The effect with its verdict, the seeds that are still needed, and its sentence.

    Args:
        effect: The effect as it was measured, before it is judged.
        margin: Smallest difference of practical size, in units of the metric.
        planned: Number of seeds of the whole plan, those of later looks included.
        num_arms: Arms beside the baseline.
        more: How many more seeds would decide, if it is not decided yet; None if that cannot be said.
    """
    verdict = _verdict(effect, can_conclude=planned >= least_seeds(num_arms))
    undecided: dict[EffectVerdict, int | None] = {
        EffectVerdict.INCONCLUSIVE_PLAN: max(least_seeds(num_arms) - effect.num_seeds, more or 0),
        EffectVerdict.UNCLEAR: more,
    }
    needed = undecided.get(verdict, 0)
    whole = replace(effect, verdict=verdict, seeds_needed=needed)
    return replace(whole, sentence=_sentence(whole, margin, least_seeds(num_arms)))


def conclusion(effects: Sequence[Effect]) -> str:
    """What all arms say together, in a sentence that also says where nothing was found.

    Args:
        effects: Effect of each arm beside the baseline, at least one.
    """
    baseline, seeds = effects[0].baseline, counted(max(effect.num_seeds for effect in effects), "seed")
    # An arm of several changes has commas in its name.
    names = {effect.arm: f"({effect.arm})" if ", " in effect.arm else effect.arm for effect in effects}
    by_verdict = {
        verdict: [names[effect.arm] for effect in effects if effect.verdict is verdict] for verdict in EffectVerdict
    }
    undecided = [*by_verdict[EffectVerdict.UNCLEAR], *by_verdict[EffectVerdict.INCONCLUSIVE_PLAN]]
    if len(undecided) == len(effects):
        return f"Nothing was found: {listed(undecided, limit=20)} cannot be told from {baseline} with {seeds}."
    said = {
        f"better than {baseline}": by_verdict[EffectVerdict.BETTER] or ["none"],
        "worse": by_verdict[EffectVerdict.WORSE],
        "no difference of practical size": by_verdict[EffectVerdict.EQUIVALENT],
        f"not decided with {seeds}": undecided,
    }
    return (
        f"Of {counted(len(effects), 'arm')}, "
        + "; ".join(f"{what}: {listed(arms, limit=20)}" for what, arms in said.items() if arms)
        + "."
    )


def coverage_text(effects: Sequence[Effect]) -> str:
    """What to know beside the intervals, as a sentence; empty where each that there is rests on all seeds.

    Args:
        effects: Effect of each arm beside the baseline.

    Source: benchmarks/calibration.py, simulated ablations of 5 to 12 seeds.
    """
    some = [effect.arm for effect in effects if effect.n_pairs < effect.num_seeds and not isnan(effect.low)]
    if not some:
        return ""
    return (
        f"The interval of {listed(some)} is of the pairs that finished alone, so it is too favourable where runs "
        f"diverge: with 30 % of them it covered the truth in 87 to 95 of 100 simulated cases, not in 95."
    )


def _verdict(effect: Effect, *, can_conclude: bool) -> EffectVerdict:
    if not can_conclude:
        return EffectVerdict.INCONCLUSIVE_PLAN
    is_sure, diverges_more = effect.p_corrected < ALPHA, effect.diverged > effect.baseline_diverged
    if is_sure and effect.low > 0 and 2 * effect.wins >= effect.num_seeds:
        return EffectVerdict.BETTER
    is_below = effect.high < 0 or (diverges_more and effect.divergence_p < ALPHA)
    if is_sure and is_below and 2 * effect.losses >= effect.num_seeds:
        return EffectVerdict.WORSE
    # Only with the seeds with which both finished could a difference be called small: there must be no others.
    if effect.n_pairs == effect.num_seeds and effect.equivalence_p < ALPHA:
        return EffectVerdict.EQUIVALENT
    return EffectVerdict.UNCLEAR


def _sentence(effect: Effect, margin: float, least: int) -> str:
    wins = f"better with {effect.wins} of {counted(effect.num_seeds, 'seed')}"
    match effect.verdict:
        case EffectVerdict.BETTER:
            text = f"Use {effect.arm}: {difference_text(effect)}, {wins}"
        case EffectVerdict.WORSE:
            text = f"Do not use {effect.arm}: {difference_text(effect)}, {wins}"
        case EffectVerdict.EQUIVALENT:
            text = f"Take {effect.arm} or {effect.baseline}, whichever is cheaper: {difference_text(effect)}, "
            text += f"which is within {margin:g}"
        case EffectVerdict.INCONCLUSIVE_PLAN:
            text = (
                f"Train more seeds: {effect.num_seeds} cannot decide about {effect.arm} whatever they show, {least} can"
            )
        case EffectVerdict.UNCLEAR:
            text = f"{effect.arm} cannot be told from {effect.baseline}: {difference_text(effect)}, {wins}"
    return "; ".join([text, *_divergence(effect), *_what_to_do(effect)]) + "."


def difference_text(effect: Effect) -> str:
    """Mean difference, its interval and p, for people."""
    if not effect.n_pairs:
        return "no seed with which both finished"
    some = f", of the {effect.n_pairs} pairs that finished alone" if effect.n_pairs < effect.num_seeds else ""
    interval = "" if isnan(effect.low) else f" ({effect.low:+.3f} to {effect.high:+.3f}{some})"
    return f"{effect.mean:+.3f}{interval}, p {number(effect.p_corrected)}"


def _divergence(effect: Effect) -> list[str]:
    if not effect.diverged and not effect.baseline_diverged:
        return []
    return [
        f"it diverged {counted(effect.diverged, 'time')}, {effect.baseline} {counted(effect.baseline_diverged, 'time')}"
        f" (p {number(effect.divergence_p)})"
    ]


def _what_to_do(effect: Effect) -> list[str]:
    """What is still to be trained."""
    steps = []
    if effect.unknown:
        steps.append(f"train again the {counted(effect.unknown, 'pair')} with a run that failed or is missing")
    if effect.verdict is EffectVerdict.UNCLEAR and not effect.can_win:
        steps.append("it has hardly a chance to become better, so it needs no more seeds")
    elif effect.verdict is EffectVerdict.UNCLEAR and not effect.unknown:
        many = "more seeds than anybody trains"
        steps.append(
            f"{many if effect.seeds_needed is None else counted(effect.seeds_needed, 'more seed')} would decide"
        )
    return steps
