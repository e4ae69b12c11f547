"""Mutated inputs: every file format that people or other programs write, damaged by a seed, and read in process."""
