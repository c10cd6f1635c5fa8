"""Reductions as jobs, and where they run."""
