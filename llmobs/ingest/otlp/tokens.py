"""Token counts as a library writes them into the one normal form of usage."""

from llmobs.core import semconv
from llmobs.ingest.otlp.reading import Reading
from llmobs.pricing.usage import CLASS_OF_UNIT, Usage


def normal_usage(reading: Reading) -> tuple[Usage | None, bool]:
    """The usage of a call, and whether it is known in part only. A missing count is not zero: none at all is None.

    Where cached tokens are more than the input, the input cannot include them: they are added; likewise reasoning.
    Where only their sum with the input makes the total that the library states, that proves the same.
    """
    if not reading.is_call or (reading.input_tokens is None and reading.output_tokens is None):
        return None, False
    is_partial = reading.input_tokens is None or (
        reading.output_tokens is None and reading.operation_name != semconv.EMBEDDINGS
    )
    if is_partial:
        reading.remarks.append("flag:usage_in_part")
    cache_read, cache_write = reading.cache_read or 0, reading.cache_write or 0
    given, answered = _whole(reading, cache_read + cache_write)
    write_1h = min(reading.cache_write_1h or 0, cache_write)
    if reading.units or reading.tier:
        return _apart(
            reading, given - cache_read - cache_write, cache_read, cache_write, write_1h, answered
        ), is_partial
    usage = Usage(
        uncached_input=given - cache_read - cache_write,
        cache_read=cache_read,
        cache_write_5m=cache_write - write_1h,
        cache_write_1h=write_1h,
        output=answered,
        reasoning=reading.reasoning or 0,
    )
    return usage, is_partial


def _whole(reading: Reading, cached: int) -> tuple[int, int]:
    """Input with its cached tokens and output with its reasoning, whatever the library leaves out of them."""
    given, answered, reasoning = reading.input_tokens or 0, reading.output_tokens or 0, reading.reasoning or 0
    is_proven = _proven(reading.total_tokens, given, answered, cached, reasoning)
    if cached and (reading.excludes_cache or cached > given or "cache" in is_proven):
        named = "cache_left_out" if reading.excludes_cache else "cache_added" if cached > given else "cache_proven"
        reading.remarks.append(f"correction:{named}")
        given += cached
    if reasoning and (reasoning > answered or "reasoning" in is_proven):
        named = "reasoning_added" if reasoning > answered else "reasoning_proven"
        reading.remarks.append(f"correction:{named}")
        answered += reasoning
    # openlit's own total leaves out the same tokens that its input does.
    if reading.total_tokens not in (None, given + answered) and not reading.excludes_cache:
        reading.remarks.append("flag:total_differs")
    return given, answered


def _proven(total: int | None, given: int, answered: int, cached: int, reasoning: int) -> tuple[str, ...]:
    """What must be added to input and output to make the total, where only that makes it (PAINS 14, 16, 17)."""
    if total is None or total == given + answered:
        return ()
    for added, names in (
        (cached, ("cache",)),
        (reasoning, ("reasoning",)),
        (cached + reasoning, ("cache", "reasoning")),
    ):
        if added and total == given + answered + added:
            return names
    return ()


def _apart(reading: Reading, uncached: int, read: int, write: int, write_1h: int, answered: int) -> Usage:
    """With other units: those of tokens are within the counts of their class, as far as these go."""
    left = {"uncached_input": uncached, "cache_read": read, "output": answered}
    units: dict[str, int] = {}
    for unit, found in sorted((reading.units or {}).items()):
        kind = CLASS_OF_UNIT.get(unit)
        units[unit] = found if kind is None else min(found, left[kind])
        if kind is not None:
            left[kind] -= units[unit]
    return Usage(
        left["uncached_input"],
        left["cache_read"],
        write - write_1h,
        write_1h,
        left["output"],
        min(reading.reasoning or 0, left["output"]),
        tuple((unit, found) for unit, found in units.items() if found),
        reading.tier,
    )
