"""Time and memory of whole programs and of the stack, beside others; run it with ``python -m benchmarks.speed``."""
