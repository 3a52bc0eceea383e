"""The units of a price: how each is called, printed and counted. Data, like prices."""

from dataclasses import dataclass

MILLION, THOUSAND = 1_000_000, 1_000


@dataclass(frozen=True, slots=True)
class Unit:
    """`per`: as many as a printed price is for, tokens by the million and all else by the thousand."""

    name: str  # as in Usage.units
    bundled: str  # the price's name in genai-prices
    per: int
    words: str

    @property
    def column(self) -> str:
        """Its name in files and in the REST API."""
        return f"{self.name}_usd_per_mtok" if self.per == MILLION else f"{self.name}_usd_per_thousand"


UNITS = (
    Unit("audio_input", "input_audio_mtok", MILLION, "sound, input"),
    Unit("audio_cache_read", "cache_audio_read_mtok", MILLION, "sound, cache read"),
    Unit("audio_output", "output_audio_mtok", MILLION, "sound, output"),
    Unit("image_input", "input_image_mtok", MILLION, "pictures, input"),
    Unit("image_cache_read", "cache_image_read_mtok", MILLION, "pictures, cache read"),
    Unit("image_output", "output_image_mtok", MILLION, "pictures, output"),
    Unit("video_input", "input_video_mtok", MILLION, "video, input"),
    Unit("video_cache_read", "cache_video_read_mtok", MILLION, "video, cache read"),
    Unit("video_output", "output_video_mtok", MILLION, "video, output"),
    Unit("reasoning", "output_reasoning_mtok", MILLION, "reasoning"),
    Unit("citation", "output_citation_mtok", MILLION, "citations"),
    Unit("web_search", "web_searches_kcount", THOUSAND, "web searches"),
    Unit("file_search", "storage_searches_kcount", THOUSAND, "file searches"),
    Unit("code_interpreter", "code_executions_kcount", THOUSAND, "code sessions"),
    Unit("requests", "requests_kcount", THOUSAND, "requests"),
)
UNIT_BY_NAME = {unit.name: unit for unit in UNITS}
UNIT_BY_COLUMN = {unit.column: unit for unit in UNITS}
