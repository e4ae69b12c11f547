"""A study that trains the best trials of another one again, with seeds that the other has never used.

The best of many trials is partly the luckiest. What is trained again is a candidate: an arm of an ablation, beside the
study's own values of everything that it searched.

Source: Cawley & Talbot 2010, On over-fitting in model selection and subsequent selection bias in performance
evaluation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from detector.plan import LARGEST_SEED
from evolve.errors import StudyError
from evolve.formatting import counted
from evolve.study.deciding import DECIDED
from evolve.study.definition import LONGEST_NAME
from evolve.study.space import Scalar
from evolve.study.study import Study

SEEDS, TOP = 5, 3
LEAST_SEEDS, MOST_SEEDS, MOST_CANDIDATES = 3, 100, 100  # no interval of fewer than three values says anything
NOT_GIVEN = "not-given"  # data of a study whose trials were trained elsewhere
_SUFFIX = "-confirm"
_TRIAL = "trial "  # and its number: the name of a candidate
_OF_A_SEARCH = (
    *DECIDED,
    *("name", "description", "budget", "scheduler", "warm_start", "decisions", "inspect", "ablation"),
)


def arm_name(trial: int) -> str:
    """Name of the candidate that a trial is, by its number in the study that found it."""
    return f"{_TRIAL}{trial}"


def trial_of(arm: str) -> int | None:
    """Number of the trial that a candidate is; None for the baseline."""
    word = arm.removeprefix(_TRIAL)
    return int(word) if arm.startswith(_TRIAL) and word.isdecimal() else None


def check_confirmable(study: Study) -> None:
    """Refuses a study in which nothing was chosen among many.

    Raises:
        StudyError: The study compares arms, trains a population, searches nothing, or nobody has said what it is
            trained on.
    """
    if study.ablation is not None:
        raise StudyError(f"study {study.name}: compares arms, over seeds of its own; a search can be confirmed")
    if study.pbt is not None:
        again = f"evolve export {study.name}, then evolve train --hyp FILE --seeds 1,2,3"
        raise StudyError(f"study {study.name}: its best lived through a schedule, which no arm has; instead: {again}")
    if not study.space:
        raise StudyError(f"study {study.name}: searches nothing, so that there is no best to confirm")
    if study.data == NOT_GIVEN:
        raise StudyError(f"study {study.name}: was trained elsewhere, on data that nobody named; import it with --data")


def candidates(
    study: Study, ranked: Iterable[tuple[int, Mapping[str, Scalar]]], *, top: int
) -> dict[int, Mapping[str, Scalar]]:
    """The best trials that differ from each other and from the study's own values, by number, the best first.

    Args:
        study: Study of the search whose best trials are confirmed.
        ranked: Number and parameters of the trials that trained through, the best first.
        top: Number of trials that are wanted at most.

    Raises:
        StudyError: No trial that differs from the study's own values has trained through.
    """
    found: dict[int, Mapping[str, Scalar]] = {}
    seen = [study.baseline_params()]
    for number, params in ranked:
        if len(found) < top and dict(params) not in seen:
            seen.append(dict(params))
            found[number] = params
    if not found:
        text = "no trial but that of its own values has trained through, so there is nothing to compare with them"
        raise StudyError(f"study {study.name}: {text}; train more: evolve run --study {study.name} --resume --trials N")
    return found


def fresh_seeds(used: Collection[int], count: int) -> tuple[int, ...]:
    """Seeds above all that have been used.

    Args:
        used: Seeds of the search and of what has confirmed it before, at least one.
        count: Number of seeds that are wanted.

    Raises:
        StudyError: So many larger seeds are not allowed.
    """
    first = max(used) + 1
    if first + count - 1 > LARGEST_SEED:
        raise StudyError(f"seeds: {counted(count, 'fresh seed')} above {first - 1} would be above {LARGEST_SEED}")
    return tuple(range(first, first + count))


def name_of(study: str, number: int) -> str:
    """Name under which the confirmation of a study is stored; its `number` counts from 1."""
    end = _SUFFIX if number == 1 else f"{_SUFFIX}-{number}"
    return f"{study[: LONGEST_NAME - len(end)]}{end}"


def confirmation(
    study: Study, chosen: Mapping[int, Mapping[str, Scalar]], *, name: str, seeds: Sequence[int], epochs: int
) -> Study:
    """The study that trains candidates beside the search's own values.

    Args:
        study: Study of the search whose best trials are confirmed.
        chosen: Parameters of each candidate, by the number of its trial in the search.
        name: Name of the new study.
        seeds: Seeds that the search has not used.
        epochs: Epochs of every training.

    Raises:
        StudyError: The new study is not allowed.
    """
    mapping = study.to_mapping()
    kept: dict[str, Any] = {key: value for key, value in mapping.items() if key not in _OF_A_SEARCH}
    arms = {arm_name(number): dict(params) for number, params in chosen.items()}
    ablation = {
        "question": f"Which of the best trials of {study.name} is best with seeds that the search has not used?",
        "arms": arms,
        "seeds": list(seeds),
        "confirms": study.name,
    }
    own = {
        "name": name,
        "description": f"The best of {study.name}, trained again with fresh seeds.",
        "epochs": epochs,
        "ablation": ablation,
    }
    if (limit := study.budget.trial_seconds) is not None:
        own["budget"] = {"trial_seconds": limit}
    return Study.from_mapping(kept | own, origin=f"confirmation of {study.name}")


def is_same_request(one: Study, other: Study) -> bool:
    """Whether two confirmations train the same with as many seeds, whichever these are and whatever they are called."""
    assert one.ablation is not None and other.ablation is not None
    alike = other.model_copy(
        update={
            "name": one.name,
            "seeds": one.seeds,
            "ablation": other.ablation.model_copy(update={"seeds": one.ablation.seeds}),
        }
    )
    return len(one.seeds) == len(other.seeds) and not one.differences(alike)
