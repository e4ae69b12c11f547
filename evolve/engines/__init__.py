"""Where trials are trained: in this process or in workers that stay alive, behind one protocol."""

from evolve.engines.base import Crashed, Ended, Engine, Event, Progress
from evolve.engines.processes import Limits, ProcessEngine, warm_up
from evolve.engines.serial import SerialEngine

__all__ = ["Crashed", "Ended", "Engine", "Event", "Limits", "ProcessEngine", "Progress", "SerialEngine", "warm_up"]
