"""The pages: what is read, what is drawn of it, and how it is served."""
