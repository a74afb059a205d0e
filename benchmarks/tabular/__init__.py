"""Quality, budget and one-row latency on real tables beside other frameworks: ``make bench-tabular``."""
