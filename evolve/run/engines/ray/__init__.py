"""Ray Tune behind the engine protocol: `evolve.run.engines.ray.RayEngine`.

A study is asked, judged, stored and told as on one machine; Tune places trainings on nodes, keeps their processes and
carries records and decisions between them. Only the driver writes the database. Importing this package loads Ray.
"""

from evolve.run.engines.ray.engine import RayEngine
from evolve.run.engines.ray.files import Checkpoints
from evolve.run.engines.ray.schedulers import Stopping

__all__ = ["Checkpoints", "RayEngine", "Stopping"]
