"""A study of real trainings that is over in seconds: one trial trains to its end, one diverges."""

SMALL = """
description: A study that is over in seconds.
data: digits-1
epochs: 1
hyperparameters: {train_share: 0.4, box: 1.0, warmup_epochs: 0.5, warmup_bias_lr: 0.01}
space:
  lr0: {choices: [0.01, 1.0e+5]}
sampler: grid
budget: {trials: 2}
thresholds: {floor: 0.0}
"""
# The same on a folder of photographs, which are few.
ON_PHOTOS = SMALL.replace("data: digits-1", "data: photos").replace("train_share: 0.4, ", "")
