"""What training the best of a search again has shown, for the terminal."""

from __future__ import annotations

from math import isfinite

from evolve.commands.aligning import aligned
from evolve.confirmed import LEAST_FOR_RANKS, Candidate, Confirmation
from evolve.formatting import MISSING, counted, number, score

_HEADS = ("candidate", "found", "again", "95 % interval", "shrinkage", "diverged", "against the defaults", "verdict")


def confirmation_text(found: Confirmation, *, width: int | None) -> str:
    """Candidates as a table, what became of what the search found, and which is best.

    Args:
        found: The confirmation that is shown.
        width: Characters of a line; None where there is no terminal.
    """
    how = f"{counted(found.epochs, 'epoch')}, seeds {', '.join(map(str, found.seeds))}"
    lines = [f"study   {found.study}: its best, trained again in {found.name}: {how}", ""]
    lines += aligned(
        _HEADS, [_cells(found, candidate) for candidate in found.candidates], left=(0, len(_HEADS) - 1), width=width
    )
    lines += ["", *(effect.sentence for effect in found.effects)]
    if isfinite(found.mean_shrinkage):
        lines.append(
            f"luck    {found.mean_shrinkage:+.4f} of what the search found is gone, a mean over all but the defaults"
        )
    lines.append(f"order   {order_text(found)}")
    return "\n".join([*lines, f"best    {found.sentence}"])


def order_text(found: Confirmation) -> str:
    """How far the order of the search is the order of the confirmation."""
    ranks = found.ranks
    if not isfinite(ranks.tau):
        why = "too few for an order" if ranks.n < LEAST_FOR_RANKS else "and one of both is the same for all"
        return f"{counted(ranks.n, 'candidate')} with a value in both, {why}"
    lengths = "" if found.searched_epochs in (None, found.epochs) else f" ({found.searched_epochs} epochs there)"
    p = number(ranks.p) if isfinite(ranks.p) else MISSING
    return f"Kendall's tau {ranks.tau:+.2f} with that of the search{lengths}, n {ranks.n}, p {p}"


def _cells(found: Confirmation, candidate: Candidate) -> tuple[str, ...]:
    again = candidate.again
    effect = next((effect for effect in found.effects if effect.arm == candidate.arm), None)
    difference = verdict = ""
    if effect is not None:
        verdict = str(effect.verdict)
        reach = f" ({effect.low:+.4f} to {effect.high:+.4f})" if isfinite(effect.low) else ""
        difference = f"{effect.mean:+.4f}{reach}" if isfinite(effect.mean) else MISSING
    return (
        candidate.name,
        score(candidate.found),
        f"{score(again.mean)} of {again.num_values}",
        f"{score(max(again.low, 0.0))} to {score(min(again.high, 1.0))}" if isfinite(again.low) else MISSING,
        f"{candidate.shrinkage:+.4f}" if isfinite(candidate.shrinkage) else MISSING,
        str(candidate.diverged),
        difference,
        verdict,
    )
