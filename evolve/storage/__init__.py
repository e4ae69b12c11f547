"""The database: Optuna's tables and ours beside them."""
