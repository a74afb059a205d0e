"""CPU and latency of a request beside a bare endpoint and other servers: ``make bench-serving``."""
