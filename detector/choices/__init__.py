"""What a training may choose by name: a module a family, each a table from name to a pure function.

The names are those that `detector.hyperparameters` declares. Schedules and warm-ups are plain arithmetic; the others
work on tensors.
"""
