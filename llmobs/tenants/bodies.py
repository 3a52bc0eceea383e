"""How the REST API reads the bodies of requests. A module of its own: DRF imports it while it is imported itself."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class Json(JSONParser):  # type: ignore[misc]
    """JSON; a body that is nested without end is the caller's mistake, too."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - it is nested too deep.") from None
