"""Bounds of a span's short texts, set before it is written: an index takes 2,700 bytes, a database text no NUL."""

from llmobs.ingest import compiled
from llmobs.ingest.copying import clean_text
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

MOST_CHARACTERS = {
    "name": 500,
    "operation_name": 100,
    "status": 20,
    "error_type": 200,
    "status_message": 4000,
    "provider_name": 100,
    "request_model": 300,
    "response_model": 300,
    "response_id": 300,
    "price_version": 200,
    "prompt_version": 200,
    "scope_name": 300,
    "scope_version": 100,
}
MOST_DIMENSION_CHARACTERS = 300
MOST_FINISH_REASONS = 32

_BOUNDS = tuple(MOST_CHARACTERS.items())
_LEAST_BOUND = 100  # of all but the status: what is as short fits everywhere
_compiled = compiled.loaded()


def keep_bounds(span: Span) -> None:
    """Cut and clean the span's texts in place."""
    if _compiled is not None and _fits(span):
        return
    for name, most in _BOUNDS:
        text = getattr(span, name)
        if text and (len(text) > most or not (text.isascii() and "\0" not in text)):
            setattr(span, name, clean_text(text)[:most])
    who = span.attribution
    texts = (who.service, who.environment, who.feature, who.user_id, who.session_id)
    if not all(_is_plain(text) for text in texts):
        service, environment, feature, user_id, session_id = (_bounded(text) for text in texts)
        span.attribution = Attribution(service, environment, feature, user_id, session_id, who.key_id)
    if span.finish_reasons:
        span.finish_reasons = tuple(_bounded(reason) for reason in span.finish_reasons[:MOST_FINISH_REASONS])


def _fits(span: Span) -> bool:
    """Whether nothing is to be cut or cleaned, told in one look; False: look closer."""
    assert _compiled is not None
    if len(span.status) > MOST_CHARACTERS["status"] or len(span.finish_reasons) > MOST_FINISH_REASONS:
        return False
    return bool(_compiled.are_short(_texts(span), _LEAST_BOUND))


def _texts(span: Span) -> tuple[str, ...]:
    """All that have a bound, one after the other."""
    who = span.attribution
    return (
        span.name, span.operation_name, span.status, span.error_type, span.status_message, span.provider_name,
        span.request_model, span.response_model, span.response_id, span.price_version, span.prompt_version,
        span.scope_name, span.scope_version, who.service, who.environment, who.feature, who.user_id, who.session_id,
        *span.finish_reasons,
    )  # fmt: skip


def _is_plain(text: str) -> bool:
    return len(text) <= MOST_DIMENSION_CHARACTERS and text.isascii() and "\0" not in text


def _bounded(text: str) -> str:
    return clean_text(text)[:MOST_DIMENSION_CHARACTERS]
