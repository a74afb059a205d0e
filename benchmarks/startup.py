"""How long `import modelyard` and `modelyard --help` take, as a ratio to an interpreter that does nothing.

``make bench-startup``. The three are interleaved, so that a busy machine slows all of them; medians are compared.
Bars: import at most 3 times, help at most 10 times the bare interpreter, and both under 0.3 s where the bare one takes
its usual 20 ms or less.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 25
MODELYARD = str(Path(sys.executable).with_name("modelyard"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import modelyard": [sys.executable, "-c", "import modelyard"],
    "modelyard --help": [MODELYARD, "--help"],
}
BARS = {"import modelyard": 3.0, "modelyard --help": 10.0}


def main() -> int:
    """Measure, print the table and one last line; return 1 where a bar does not hold."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, words in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in times.items()}
    floor = medians["python -c pass"]
    print(f"{'command':<20}{'median ms':>12}{'ratio':>8}{'bar':>8}")
    for name, value in medians.items():
        print(f"{name:<20}{value * 1e3:>12.1f}{value / floor:>8.2f}{BARS.get(name, float('nan')):>8.1f}")
    held = all(medians[name] / floor <= bar for name, bar in BARS.items())
    held = held and (floor > 0.020 or max(medians.values()) < 0.3)
    print(f"startup: {'all bars hold' if held else 'A BAR DOES NOT HOLD'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
