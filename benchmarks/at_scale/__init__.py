"""The stages that benchmarks/scale.py measures, on simulated competitions."""
