"""What an ablation has shown: the runs of its arms, and how sure one can be of their differences."""
