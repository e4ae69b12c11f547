"""What became of a training, and why; pure functions of its telemetry."""
