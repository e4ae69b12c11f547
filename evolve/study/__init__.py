"""A study: what is trained, what varies, and what its file leaves to the data."""

from evolve.study.definition import Budget as Budget
from evolve.study.definition import Fitness as Fitness
from evolve.study.definition import Thresholds as Thresholds
from evolve.study.definition import Warnings as Warnings
from evolve.study.methods import BLIND_SAMPLERS as BLIND_SAMPLERS
from evolve.study.methods import FORESEEING as FORESEEING
from evolve.study.methods import MEDIAN_STARTUP_TRIALS as MEDIAN_STARTUP_TRIALS
from evolve.study.methods import PROMOTION as PROMOTION
from evolve.study.methods import PRUNERS as PRUNERS
from evolve.study.methods import SAMPLERS as SAMPLERS
from evolve.study.study import DIGITS as DIGITS
from evolve.study.study import Study as Study
from evolve.study.study import validated as validated
