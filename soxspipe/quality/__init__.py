"""QC values: their definitions, their measurement on arrays, and their table."""
