"""The command that says where the differences between equal trainings come from, and lines that others say of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evolve.commands.options import DEFAULT_STORAGE, JsonOption, StorageOption, StudyName
from evolve.commands.output import chosen_study, opened_storage, say, say_next, terminal_width
from evolve.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evolve.ablation.crossed import NoiseFound
    from evolve.ablation.noise import NoiseShares
    from evolve.study import Study

NOISE_HEADS = ("source", "share", "95 % interval", "deviation")


def noise(study: StudyName, storage: StorageOption = DEFAULT_STORAGE, as_json: JsonOption = False) -> None:
    """Say what equal trainings of a study of noise differ by, and by how much two single ones must to mean anything.

    Example: `evolve noise noise`, after `evolve run --study noise`
    """
    from evolve.ablation.crossed import noise_found
    from evolve.storage.ablations import trainings_of

    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        definition = opened.stored_study(name)
        if definition is None:
            raise StorageError(f"study {name}: is none of evolve's, so nothing is known of what it crosses")
        found = noise_found(definition, trainings_of(opened.engine, name))
    say(_mapping(found), as_json=as_json, text=lambda: _text(found))
    then = ["evolve", "report", name] if found.shares else ["evolve", "run", "--study", name, "--resume"]
    say_next(then, as_json=as_json, storage=storage)


def noise_line(engine: Engine, study: Study) -> str:
    """The difference below which two trainings of a study cannot be told apart; empty where nobody measured it.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Study whose trainings are looked at.
    """
    from evolve.storage.noise import known_noise

    found = known_noise(engine, study)
    return "" if found is None or found.shares is None else f"{found.shares.sentence} ({found.basis})"


def noise_rows(shares: NoiseShares) -> list[tuple[str, ...]]:
    """Cells of each source, as `NOISE_HEADS` names them."""
    return [
        (share.source, f"{share.share:.0%}", f"{share.low:.0%} to {share.high:.0%}", f"{share.deviation:.4f}")
        for share in shares.shares
    ]


def _mapping(found: NoiseFound) -> dict[str, Any]:
    shares = None if found.shares is None else asdict(found.shares) | {"sentence": found.shares.sentence}
    noise = found.study.noise
    crossed = {} if noise is None else {"sources": list(noise.sources), "levels": noise.levels}
    return {"study": found.study.name} | crossed | {"noise": shares, "reason": found.reason}


def _text(found: NoiseFound) -> str:
    from evolve.commands.aligning import aligned

    lines = [f"study   {found.study.name}: {' '.join(found.study.description.split())}"]
    if found.reason:
        lines.append(f"note    {found.reason}")
    if (shares := found.shares) is None:
        return "\n".join(lines)
    lines += [f"noise   {shares.sentence}", f"basis   {found.basis}; one training varies by {shares.deviation:.4f}", ""]
    return "\n".join([*lines, *aligned(NOISE_HEADS, noise_rows(shares), left=(0,), width=terminal_width())])
