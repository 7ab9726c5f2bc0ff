"""The way into CORDEX ML-Bench (WCRP-CORDEX/ml-benchmark): fits, a submission, its scores."""
