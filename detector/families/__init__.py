"""The hyperparameters by what they decide: a class of declarations for each, which `Hyperparameters` puts together."""

# Names of the groups in which they are shown.
RATES, OPTIMIZER, WARMUP, LOSS = "rates", "optimizer", "warm-up", "loss"
TARGETS, NETWORK, START, AVERAGE = "targets", "network", "start", "average"
AUGMENTATION, SIZE, IMAGES = "augmentation", "size of images", "images"
