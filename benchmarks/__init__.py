"""How quick a sandbox is, as ratios to what people would use in its place. Run with ``python -m benchmarks``."""
