"""A study: what is trained, what varies, and what its file leaves to the data."""

from evolve.study.study import BLIND_SAMPLERS as BLIND_SAMPLERS
from evolve.study.study import DIGITS as DIGITS
from evolve.study.study import FORESEEING as FORESEEING
from evolve.study.study import MEDIAN_STARTUP_TRIALS as MEDIAN_STARTUP_TRIALS
from evolve.study.study import PRUNERS as PRUNERS
from evolve.study.study import SAMPLERS as SAMPLERS
from evolve.study.study import Budget as Budget
from evolve.study.study import Fitness as Fitness
from evolve.study.study import Study as Study
from evolve.study.study import Thresholds as Thresholds
from evolve.study.study import Warnings as Warnings
from evolve.study.study import validated as validated
