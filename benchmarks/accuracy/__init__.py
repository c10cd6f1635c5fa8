"""Master darks of simulated detectors against the truth; run it with ``python -m benchmarks.accuracy``."""
