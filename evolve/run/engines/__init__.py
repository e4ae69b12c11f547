"""Where trials are trained: in this process or in workers that stay alive, behind one protocol."""

from evolve.run.engines.base import BEHIND, Crashed, Ended, Engine, EngineEvent, Parted, Progress, SchedulingEngine
from evolve.run.engines.limits import Limits
from evolve.run.engines.processes import ProcessEngine, warm_up
from evolve.run.engines.serial import SerialEngine

__all__ = [
    "BEHIND",
    "Crashed",
    "Ended",
    "Engine",
    "EngineEvent",
    "Limits",
    "Parted",
    "ProcessEngine",
    "Progress",
    "SchedulingEngine",
    "SerialEngine",
    "warm_up",
]
