"""Where things are that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
REAL = ROOT.parent / "shared" / "data"  # real data sets, where they are
RACCOON, BLOOD_CELLS = REAL / "raccoon", REAL / "blood-cells"
