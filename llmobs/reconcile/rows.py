"""What a report says, in our words: its rows, the days it tells of, and what may be wrong with it."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

USAGE, COST = "usage", "cost"

# Classes of tokens as bills know them, and units besides (`pricing.usage`). OTHER: a line of a bill that is no usage of
# ours, such as credits, taxes, storage and sessions.
UNCACHED, CACHE_READ, WRITE_5M, WRITE_1H, OUTPUT = (
    "uncached_input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
)
INPUTS = (UNCACHED, CACHE_READ, WRITE_5M, WRITE_1H)
AUDIO_INPUT, AUDIO_CACHE_READ, AUDIO_OUTPUT = "audio_input", "audio_cache_read", "audio_output"
IMAGE_INPUT, IMAGE_OUTPUT = "image_input", "image_output"
WEB_SEARCH, FILE_SEARCH, CODE = "web_search", "file_search", "code_interpreter"
REQUESTS = "requests"
REASONING = "reasoning"
OTHER = "other"
# Counted without a model: providers bill them apart from it.
TOOLS = (WEB_SEARCH, FILE_SEARCH, CODE)
CLASSES = (
    *INPUTS, OUTPUT, AUDIO_INPUT, AUDIO_CACHE_READ, AUDIO_OUTPUT, IMAGE_INPUT, IMAGE_OUTPUT,
    WEB_SEARCH, FILE_SEARCH, CODE, REQUESTS, OTHER,
)  # fmt: skip

NANOUSD = Decimal(10) ** 9
# Finer than this a report is not kept: 10^-18 USD.
FINEST = Decimal("1E-9")


class ReportError(ValueError):
    """What was given is no report that is known; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `quantity` None: not told; `amount` in nano-USD, None in a usage report."""

    day: date
    model: str = ""
    key: str = ""
    workspace: str = ""
    tier: str = ""
    token_class: str = OTHER
    quantity: int | None = None
    amount: Decimal | None = None
    line_item: str = ""


@dataclass(slots=True)
class Parsed:
    """A report that was read. `days`: all it tells of, those without any row too."""

    account_kind: str
    kind: str
    form: str
    days: set[date] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    @property
    def amount_step(self) -> Decimal:
        """How finely its amounts are written, in nano-USD, at least one: what is finer is a float's noise."""
        exponents = [row.amount.normalize().as_tuple().exponent for row in self.rows if row.amount]
        finest = min((e for e in exponents if isinstance(e, int)), default=0)
        return max(Decimal(1), Decimal(10) ** finest)


def nanousd(usd: Decimal) -> Decimal:
    """USD as nano-USD, with every digit that a row keeps."""
    return (usd * NANOUSD).quantize(FINEST)
