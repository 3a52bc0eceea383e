"""The provider's own bill: every token that was sent, at prices straight from genai_prices.

Deliberately not by `llmobs.pricing`: two ways to one sum prove more than one. Decimal throughout, exact, never rounded.
"""

import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices

from llmobs.ops.simulator.prompt_cache import NOTHING, Cached

MOST_DETAILS = 200_000  # responses kept for /bill?detail=1, about 50 MB
MOST_MODELS = 1_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """USD per token, for calls up to `most_input_tokens`: longer ones cost what their tier says."""

    input_usd: Decimal
    output_usd: Decimal
    most_input_tokens: int


@dataclass(slots=True)
class Sent:
    """What one response sent so far."""

    provider: str
    model: str
    input_tokens: int  # with those of the prompt cache
    output_tokens: int = 0
    cached: Cached = NOTHING

    def send(self, tokens: int) -> None:
        self.output_tokens += tokens


class Bill:
    """Sums over all responses; those of the newest responses one by one."""

    def __init__(self) -> None:
        self._responses: OrderedDict[str, Sent] = OrderedDict()
        # What fell out of the list above, summed.
        self._requests = self._input_tokens = self._output_tokens = self._unpriced = 0
        self._cache_read = self._cache_written = 0
        self._cost_usd = Decimal(0)
        self._tariffs: dict[tuple[str, str], Tariff | None] = {}

    def open(self, response_id: str, provider: str, model: str, input_tokens: int, cached: Cached = NOTHING) -> Sent:
        """Begin a response's line: its input is billed now, its output as it is sent."""
        sent = self._responses[response_id] = Sent(provider, model, input_tokens, 0, cached)
        if len(self._responses) > MOST_DETAILS:
            self._sum_up(self._responses.popitem(last=False)[1])
        return sent

    def as_dict(self, with_detail: bool = False) -> dict[str, Any]:
        """The bill as /bill shows it; money as exact decimal strings."""
        requests, input_tokens, output_tokens = self._requests, self._input_tokens, self._output_tokens
        unpriced, cost_usd = self._unpriced, self._cost_usd
        cache_read, cache_written = self._cache_read, self._cache_written
        detail = {}
        for response_id, sent in self._responses.items():
            cost = self._cost(sent)
            requests += 1
            input_tokens += sent.input_tokens
            output_tokens += sent.output_tokens
            cache_read += sent.cached.read
            cache_written += sent.cached.written
            unpriced += cost is None
            cost_usd += cost or 0
            if with_detail:
                detail[response_id] = {
                    "model": sent.model,
                    "input_tokens": sent.input_tokens,
                    "output_tokens": sent.output_tokens,
                    "cache_read_input_tokens": sent.cached.read,
                    "cache_creation_input_tokens": sent.cached.written,
                    "cost_usd": None if cost is None else _plain(cost),
                }
        whole: dict[str, Any] = {
            "requests": requests,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cache_read_input_tokens": cache_read,
            "cache_creation_input_tokens": cache_written,
            "cost_usd": _plain(cost_usd),
            "unpriced_requests": unpriced,
        }
        return whole | {"responses": detail} if with_detail else whole

    def _sum_up(self, sent: Sent) -> None:
        cost = self._cost(sent)
        self._requests += 1
        self._input_tokens += sent.input_tokens
        self._output_tokens += sent.output_tokens
        self._cache_read += sent.cached.read
        self._cache_written += sent.cached.written
        self._unpriced += cost is None
        self._cost_usd += cost or 0

    def _cost(self, sent: Sent) -> Decimal | None:
        key = (sent.provider, sent.model)
        if key not in self._tariffs:
            if len(self._tariffs) >= MOST_MODELS:
                self._tariffs.clear()
            self._tariffs[key] = _tariff(*key)
        tariff = self._tariffs[key]
        if tariff is None:
            return None
        if sent.cached is not NOTHING or sent.input_tokens > tariff.most_input_tokens:
            return _list_price(sent.provider, sent.model, sent.input_tokens, sent.output_tokens, sent.cached)
        return sent.input_tokens * tariff.input_usd + sent.output_tokens * tariff.output_usd


def _tariff(provider: str, model: str) -> Tariff | None:
    of_input, of_output = _list_price(provider, model, 1, 0), _list_price(provider, model, 0, 1)
    if of_input is None or of_output is None:
        return None
    _, found = get_snapshot().find_provider_model(model, None, provider, None)
    prices = found.get_prices(datetime.now(UTC))
    tiered = [p for p in (prices.input_mtok, prices.output_mtok) if isinstance(p, TieredPrices)]
    starts = [tier.start for price in tiered for tier in price.tiers]
    return Tariff(of_input, of_output, min(starts, default=sys.maxsize))


def _list_price(
    provider: str, model: str, input_tokens: int, output_tokens: int, cached: Cached = NOTHING
) -> Decimal | None:
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cached.read,
        cache_write_tokens=cached.written,
        cache_write_1h_tokens=cached.written_long,
    )
    try:
        return calc_price(usage, model, provider_id=provider, genai_request_timestamp=datetime.now(UTC)).total_price
    except LookupError:
        return None


def _plain(amount: Decimal) -> str:
    """Without exponent or trailing zeros: 0.0000825, 0, 12.5."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
