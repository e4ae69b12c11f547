"""A question a file: the rows that answer it, the picture of those rows, and its panel."""
