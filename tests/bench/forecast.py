"""How often a forecast's 80 % range holds what comes: `python -m tests.bench forecast`.

Rolling origin: at moments all over a series the rest of the window is foretold from what came before, and compared
with what came. The real trace is read at four scales, 1 to 10 of its seconds to a slot (tests/budgets/series.py): no
one of them is right, so all are shown. The two constants of `budgets.pace` that widen the range were chosen on long
series of seeds 0 to 15 with the real trace in view; the long series here have other seeds.
"""

import time
from collections.abc import Iterable

import numpy as np

from tests.budgets.series import SERVICES, WINDOWS, Kind, Tried, long_series, real, rolling_origin

SCALES = (1, 2, 5, 10)
SEEDS = range(100, 116)
LEAST = 48
ORIGINS = 400


def main() -> None:
    began = time.perf_counter()
    print("\nforecast: share of what came that lay in the 80 % range; relative miss and width of the window's sum")
    whole: dict[str, list[float]] = {"real trace": [], "long series": []}
    for kind in WINDOWS:
        for service in SERVICES:
            for seconds in SCALES:
                amounts = real(service, seconds)
                if len(amounts) >= LEAST + kind.length * 1.5:
                    tried = list(rolling_origin(amounts, kind, max(len(amounts) // ORIGINS, 1), LEAST))
                    whole["real trace"].append(_say(f"real {service}, {seconds:2} s to a slot", kind, tried))
    for kind in WINDOWS:
        if kind.day == 24:  # the long series are of hours
            for seed in SEEDS:
                tried = list(rolling_origin(long_series(seed), kind, 29, LEAST))
                whole["long series"].append(_say(f"long, seed {seed}", kind, tried))
    for name, covered in whole.items():
        print(f"{name}: {np.mean(covered):.1%} held, in the mean of {len(covered)} series and windows")
    print(f"{time.perf_counter() - began:.0f} s")


def _say(name: str, kind: Kind, tried: Iterable[Tried]) -> float:
    rows = list(tried)
    held = float(np.mean([row.holds for row in rows]))
    miss = np.median([abs(row.foretold - row.came) / (row.whole + 1) for row in rows])
    width = np.median([(row.high - row.low) / (row.whole + 1) for row in rows])
    print(f"  {kind.name:6} {name:26} {held:6.1%} of {len(rows):4}, miss {miss:6.1%}, width {width:7.1%}")
    return held


if __name__ == "__main__":
    main()
