"""The live pages: what is shown, what happens when something changes, and what serves it."""
