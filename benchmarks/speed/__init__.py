"""Measure time and memory of whole programs, and of the stack in memory: ``python -m benchmarks.speed``."""
