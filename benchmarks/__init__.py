"""One file per question; `python -m benchmarks` (make bench) answers them all.

Results are written to benchmarks/results with the machine that they were taken on. Nothing here is
a test: machines are noisy, and a comparison is a ratio of two runs side by side.
"""
