"""How parameters are chosen, and when a trial is stopped."""
