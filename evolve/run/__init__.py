"""A study that runs: workers, trials asked for, judged and told, and what has been found."""
