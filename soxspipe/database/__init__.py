"""The quality database: the QC values of all reductions in one place."""
