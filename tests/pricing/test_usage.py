"""Usage with units: classes stay disjoint, stored rows count all tokens, and what was written before still reads."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llmobs.pricing.usage import Usage, stored_usage

COUNTS = st.integers(0, 10**9)
UNITS = st.dictionaries(
    st.sampled_from(["audio_input", "audio_cache_read", "audio_output", "image_input", "web_search", "requests"]),
    st.integers(1, 10**6),
).map(lambda units: tuple(sorted(units.items())))
USAGES = st.builds(
    Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.just(0), UNITS, st.sampled_from(["", "batch", "priority"])
)


def classes_of(usage: Usage) -> list[int]:
    return [getattr(usage, name) for name in Usage.__struct_fields__[:6]]


@given(USAGES)
def test_a_stored_row_reads_as_the_usage_that_was_stored(usage: Usage) -> None:
    assert stored_usage(classes_of(usage.plain()), dict(usage.units), usage.tier) == usage


@given(USAGES)
def test_what_is_stored_counts_every_token(usage: Usage) -> None:
    plain = usage.plain()
    assert (plain.input_tokens, plain.output, plain.total) == (usage.input_tokens, usage.output_tokens, usage.total)


@given(USAGES)
def test_taking_back_twice_changes_nothing(usage: Usage) -> None:
    assert usage.negated().negated() == usage
    assert usage.negated().total == -usage.total


def test_a_usage_that_was_journalled_before_units_still_reads() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([1, 2, 3, 4, 5, 0]), type=Usage) == Usage(1, 2, 3, 4, 5)


def test_sound_is_within_input_and_output_and_a_search_is_no_token() -> None:
    usage = Usage(100, 10, output=20, units=(("audio_input", 5), ("audio_output", 7), ("web_search", 3)))
    assert (usage.input_tokens, usage.output_tokens, usage.total) == (115, 27, 142)
