"""Hyp files and results of other trainers, both ways."""
