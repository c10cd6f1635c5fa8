"""Compare master darks of simulated detectors with the truth: ``python -m benchmarks.accuracy``."""
