"""What a search says about itself: rules over its trials, each with evidence in numbers and a next command.

A false finding is worse than none: where a rule cannot be sure, it is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from evolve.findings.idle import hardly_mattered, without_use
from evolve.findings.length import overfitting, saturated, still_improving
from evolve.findings.placing import alone, at_an_edge
from evolve.findings.screening import recommends
from evolve.findings.search import Finding as Finding
from evolve.findings.search import Search as Search
from evolve.findings.stability import close_to_diverging, infeasible

RULES: Mapping[str, Callable[[Search], Iterator[Finding]]] = {
    "screened": recommends,
    "edge": at_an_edge,
    "alone": alone,
    "longer": still_improving,
    "shorter": saturated,
    "overfitting": overfitting,
    "unstable": close_to_diverging,
    "infeasible": infeasible,
    "no-use": without_use,
    "no-effect": hardly_mattered,
}


def findings_of(search: Search) -> tuple[Finding, ...]:
    """Everything that the rules find, in their order; nothing where no trial has trained through but what diverged.

    Args:
        search: The search as it is now; a study that compares arms is none.
    """
    if search.study.ablation is not None:
        return ()
    return tuple(finding for rule in RULES.values() for finding in rule(search))
