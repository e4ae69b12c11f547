"""Data sets: each module of detector/datasets, and what all formats have in common over all of them."""
