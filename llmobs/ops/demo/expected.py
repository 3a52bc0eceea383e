"""What the run must cost, computed from the trace and the price book alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmobs.ops.demo.plan import CODE_MODEL, CONVERSATION_MODEL, Call
from llmobs.ops.demo.trace import Row
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.usage import Usage

# No tenant has prices of its own: the bundled book is asked for nobody.
NOBODY = 0
PROVIDERS = {CONVERSATION_MODEL: "openai", CODE_MODEL: "anthropic"}


class NoPriceError(Exception):
    """The price book does not know a model that the demo needs."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Prices calls by the price book as of one moment."""

    book: PriceBook
    at_ns: int

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> int:
        """Nano-USD. Raises NoPriceError."""
        price = self.book.price(NOBODY, PROVIDERS[model], model, self.at_ns)
        if price is None:
            raise NoPriceError(f"the price book does not know {model}")
        nanousd = cost(Usage(uncached_input=input_tokens, output=output_tokens), price)
        assert nanousd is not None, "text alone always has a price where there is one"
        return nanousd

    def cost_of(self, calls: Iterable[Call]) -> int:
        """Nano-USD of calls that are all served."""
        return sum(self.cost(call.model, call.input_tokens, call.output_tokens) for call in calls)

    def trial_limit(self, conversation: Sequence[Row], most: int) -> int:
        """Half of what the trial's requests cost: the budget ends half way."""
        rows = conversation[:most]
        return sum(self.cost(CONVERSATION_MODEL, row.context_tokens, row.generated_tokens) for row in rows) // 2
