"""What a screening has shown of its changes, and what it recommends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evolve.findings.search import Finding, Search, Tried
from evolve.formatting import counted
from evolve.screened import Effect, Screened, screened
from evolve.study import Study


def screened_of(study: Study, tried: Sequence[Tried]) -> Screened | None:
    """What the trials of a screening say of its changes; None where the study screens none.

    A trial that diverged counts as the worst that trained through.

    Args:
        study: The study.
        tried: Its trials that have ended.
    """
    if (plan := study.screening) is None:
        return None
    worst = min((trial.fitness for trial in tried if trial.is_trained_through), default=0.0)
    known = [trial for trial in tried if trial.is_trained_through or trial.is_diverged]
    fitness = [trial.fitness if trial.is_trained_through else worst for trial in known]
    return screened([trial.params for trial in known], fitness, plan.changes)


def recommends(search: Search) -> Iterator[Finding]:
    """What changes have shown, those that are surely better or worse by name, and what follows."""
    found = screened_of(search.study, search.tried)
    if found is None or not found.effects:
        return
    told = {
        verdict: ", ".join(effect.text for effect in found.effects if effect.verdict == verdict)
        for verdict in ("better", "worse")
    }
    parts = [f"{counted(len(found.effects), 'change')} judged by {counted(found.num_trials, 'training')}"]
    parts += [f"{verdict}: {texts}" for verdict, texts in told.items() if texts]
    unclear = sum(effect.verdict == "unclear" for effect in found.effects)
    parts += [f"not told from luck: {unclear}"] * bool(unclear)
    parts.append(f"together they recommend {found.advice}, foretold {found.estimated(found.recommended):.3f}")
    yield Finding(
        key="screened",
        text="; ".join(parts),
        evidence=_evidence(found.effects),
        command=f"evolve confirm {search.study.name} --top 1",
    )


def _evidence(effects: Sequence[Effect]) -> Mapping[str, float | int | str]:
    return {
        f"{effect.change.name}_{key}": value
        for effect in effects
        for key, value in (("difference", effect.difference), ("low", effect.low), ("high", effect.high))
    }
