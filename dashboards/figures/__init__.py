"""What the figures of all questions share."""
