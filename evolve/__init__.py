"""Search over trainings: studies, samplers, engines, storage and what a trial's telemetry says."""
