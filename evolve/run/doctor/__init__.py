"""What a crash left in a database and its run folders, found and, where that is asked for, put right."""

from evolve.run.doctor.examination import Examination, examine
from evolve.run.doctor.finding import Finding, Kind

__all__ = ["Examination", "Finding", "Kind", "examine"]
