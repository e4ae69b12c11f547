"""Studies of noise that are stored, and what is known of the noise of others like them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select

from evolve.storage import schema
from evolve.study import Study

if TYPE_CHECKING:
    from evolve.ablation.crossed import NoiseFound


def noise_studies(engine: Engine) -> Iterator[Study]:
    """All studies that measure noise, the newest first."""
    own = schema.study.c
    query = select(own.config).where(own.config.contains('"noise": {')).order_by(own.created.desc())
    with engine.connect() as connection:
        configs = connection.scalars(query).all()
    return (Study.from_json(config) for config in configs)


def known_noise(engine: Engine, study: Study) -> NoiseFound | None:
    """The noise of trainings on the data of a study, with its network and its fitness; None where nobody measured it.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Study whose trainings are to be compared.
    """
    wanted = (study.data, study.model, study.fitness)
    for other in noise_studies(engine):
        if (other.data, other.model, other.fitness) == wanted:
            from evolve.ablation.crossed import noise_found  # whose libraries take a second to import
            from evolve.storage.ablations import trainings_of

            found = noise_found(other, trainings_of(engine, other.name))
            if found.shares is not None:
                return found
    return None
