"""How numbers are written on a page: money, tokens, times, shares. None is unknown and always "–"."""

from decimal import Decimal
from math import floor, log10

from llmobs.core.money import NANOUSD_PER_USD, exact_usd

UNKNOWN = "–"
MINUS = "−"
NBSP = "\u00a0"
EXACT_COUNT_MOST = 9_999


def money(nanousd: int | None, estimated: bool = False) -> str:
    """From $1 two decimals, below three significant digits; $0 is a known zero, ≈ means partly estimated."""
    if nanousd is None:
        return UNKNOWN
    text = _signed(nanousd, _dollars(abs(nanousd)))
    return f"≈{NBSP}{text}" if estimated else text


def exact_money(nanousd: int | None) -> str:
    """Every digit that is known: what titles show and what gets copied."""
    return UNKNOWN if nanousd is None else f"{_signed(nanousd, '$' + exact_usd(abs(nanousd)))}"


def cents(nanousd: int | None) -> str:
    """Two decimals, as columns of budgets show it; less than a cent keeps its digits, never $0.00 for something."""
    if nanousd is None or nanousd == 0 or abs(nanousd) < NANOUSD_PER_USD // 100:
        return money(nanousd)
    return _signed(nanousd, f"${_usd(abs(nanousd)):,.2f}")


def round_money(nanousd: int | None) -> str:
    """A limit or a sentence: whole dollars without decimals, otherwise as `cents`."""
    if nanousd is not None and nanousd % NANOUSD_PER_USD == 0:
        return _signed(nanousd, f"${abs(nanousd) // NANOUSD_PER_USD:,}")
    return cents(nanousd)


def rough_money(nanousd: int | None) -> str:
    """A forecast: whole dollars from $100, below that cents."""
    if nanousd is not None and abs(nanousd) >= 100 * NANOUSD_PER_USD:
        return _signed(nanousd, f"${round(_usd(abs(nanousd))):,}")
    return cents(nanousd)


def rate_money(nanousd: int | None) -> str:
    """Three significant digits, as the run rate and forecasts are shown."""
    if nanousd is None:
        return UNKNOWN
    return _signed(nanousd, "$0" if nanousd == 0 else f"${_digits(_usd(abs(nanousd)), 3)}")


def count(number: int | None) -> str:
    """Exact with thousands separators."""
    return UNKNOWN if number is None else f"{number:,}".replace("-", MINUS)


def short_count(number: int | None) -> str:
    """Exact to 9,999, else three digits with k, M, G."""
    if number is None:
        return UNKNOWN
    size = abs(number)
    if size <= EXACT_COUNT_MOST:
        return count(number)
    for unit, scale in (("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12)):
        text = _digits(Decimal(size) / scale, 3)
        if Decimal(text.replace(",", "")) < 1000 or unit == "T":
            break
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{MINUS if number < 0 else ''}{text}{NBSP}{unit}"


def duration(ns: int | None) -> str:
    """212 ms, 3.12 s, 2 min 5 s, 1 h 3 min."""
    if ns is None:
        return UNKNOWN
    seconds = ns / 1e9
    if seconds < 0.9995:
        ms = ns / 1e6
        return f"{ms:.0f}{NBSP}ms" if ms >= 1 else (f"{ms:.2g}{NBSP}ms" if ns else f"0{NBSP}ms")
    if seconds < 99.95:
        return f"{_digits(Decimal(ns) / 10**9, 3)}{NBSP}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NBSP}min {whole % 60}{NBSP}s"
    return f"{whole // 3600}{NBSP}h {whole % 3600 // 60}{NBSP}min"


def milliseconds(ms: float | None) -> str:
    """A duration known from a sketch, to three digits."""
    return UNKNOWN if ms is None else duration(round(ms * 1e6))


def share(part: float | None, whole: float = 1.0) -> str:
    """Two decimals below 1 %, one above: 0.60 %, 8.1 %, 48.2 %; unknown where there is nothing to divide by."""
    if part is None or whole == 0:
        return UNKNOWN
    percent = 100 * part / whole
    if percent == 0 or abs(percent - 100) < 1e-9:
        return f"{percent:.0f}{NBSP}%"
    digits = 2 if percent < 0.995 else 1
    return f"{percent:.{digits}f}{NBSP}%" if percent >= 0.005 else f"<{NBSP}0.01{NBSP}%"


def change(now: int, before: int | None) -> str:
    """Signed change against an earlier figure; unknown where there was none."""
    if before is None or before == 0:
        return UNKNOWN
    percent = round(100 * (now - before) / before)
    return f"{'+' if percent > 0 else MINUS if percent < 0 else ''}{abs(percent):,}{NBSP}%"


def times(ratio: float | None) -> str:
    """A multiple of the usual: 2.9×."""
    return UNKNOWN if ratio is None else f"{ratio:.1f}×"


def _usd(nanousd: int) -> Decimal:
    return Decimal(nanousd).scaleb(-9)


def _signed(nanousd: int, text: str) -> str:
    return f"{MINUS}{text}" if nanousd < 0 else text


def _dollars(nanousd: int) -> str:
    if nanousd == 0:
        return "$0"
    usd = _usd(nanousd)
    return f"${usd:,.2f}" if usd >= Decimal("0.9995") else f"${_digits(usd, 3)}"


def _digits(value: Decimal, significant: int) -> str:
    """Plain notation with this many significant digits, thousands separated."""
    if value == 0:
        return "0"
    decimals = significant - 1 - floor(log10(abs(value)))
    rounded = round(value, decimals)
    if rounded and floor(log10(abs(rounded))) > floor(log10(abs(value))):
        decimals -= 1  # 9.996 became 10.0
    return f"{rounded:,.{max(decimals, 0)}f}"
