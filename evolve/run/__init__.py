"""A study that runs: workers, trials suggested, trained and judged, and what has been found."""
