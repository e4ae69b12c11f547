"""What the pages read: nothing is written, and nothing here draws."""
