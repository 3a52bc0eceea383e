"""Errors of the REST API as RFC 9457 problem documents, whatever went wrong and wherever.

`type` is about:blank: the status says what kind it is, `detail` what was wrong and what to do. Wrong fields come in
`errors`, each with its name. What we did not expect is logged with the address, and says nothing of itself.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = "5"


class ProblemRenderer(JSONRenderer):  # type: ignore[misc]
    media_type = CONTENT_TYPE


class Conflict(exceptions.APIException):  # type: ignore[misc]
    """What is asked cannot be, as things are."""

    status_code = 409
    default_detail = "That cannot be done as things are."


class TooLarge(exceptions.APIException):  # type: ignore[misc]
    """The body, or the answer, is longer than the API takes or gives at once."""

    status_code = 413


class TooBusy(exceptions.APIException):  # type: ignore[misc]
    """Not now: the caller should try again."""

    status_code = 503
    default_detail = "Try again in a few seconds."


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler: every error becomes a problem document."""
    known = _known(error)
    if known is None:
        request = context.get("request")
        log.exception("the API failed at %s %s", getattr(request, "method", ""), getattr(request, "path", ""))
        known = exceptions.APIException("Something went wrong here; it is in the log.")
    headers = {}
    if getattr(known, "auth_header", None):
        headers["WWW-Authenticate"] = known.auth_header
    if getattr(known, "wait", None):
        headers["Retry-After"] = str(int(known.wait))
    if isinstance(known, TooBusy):
        headers["Retry-After"] = RETRY_SECONDS
    response = Response(document(known.status_code, *_told(known)), known.status_code, headers=headers)
    request = context.get("request")
    if request is not None:  # also where the caller asked for CSV
        request.accepted_renderer, request.accepted_media_type = ProblemRenderer(), CONTENT_TYPE
    return response


def document(status: int, detail: str, errors: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """A problem document."""
    found: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        found["detail"] = detail
    if errors:
        found["errors"] = errors
    return found


def not_found(request: HttpRequest, path: str = "") -> JsonResponse:
    """What answers below /api/ where nothing is."""
    return JsonResponse(document(404, "There is nothing at this address."), status=404, content_type=CONTENT_TYPE)


def _known(error: Exception) -> Any:
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, Http404):
        return exceptions.NotFound(str(error) or None)
    if isinstance(error, DjangoPermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, DjangoValidationError):
        return exceptions.ValidationError(
            error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
        )
    if isinstance(error, ProtectedError):
        needing = sorted({f"{row._meta.verbose_name} {row}" for row in error.protected_objects})
        return Conflict(f"It is still needed by: {', '.join(needing[:5])}.")
    if isinstance(error, RequestDataTooBig):
        return TooLarge("The body is longer than the API takes at once.")
    if isinstance(error, DataError | UnicodeEncodeError):  # a NUL or half a pair in a text, of the address or the body
        return exceptions.ValidationError("A value holds a character that cannot be kept, or is out of range.")
    if isinstance(error, IntegrityError):
        return Conflict("There is one of this name already, or something that it needs has just gone.")
    return TooBusy("The database cannot be reached.") if isinstance(error, OperationalError) else None


def _told(error: Any) -> tuple[str, list[dict[str, str]]]:
    if not isinstance(error, exceptions.ValidationError):
        return _plain(error.detail), []
    errors = list(_flat(error.detail))
    named = [entry for entry in errors if entry["field"]]
    general = " ".join(entry["detail"] for entry in errors if not entry["field"])
    return general or "Some fields are not right.", named


def _flat(detail: Any, name: str = "") -> "list[dict[str, str]]":
    """DRF's nested errors as a list of fields: `candidates[0].provider`."""
    if isinstance(detail, dict):
        found = []
        for key, value in detail.items():
            inner = "" if key in ("__all__", "non_field_errors") else _plain(key)
            found += _flat(value, f"{name}.{inner}".strip("."))
        return found
    if isinstance(detail, list):
        found = []
        for index, value in enumerate(detail):
            found += _flat(value, f"{name}[{index}]" if isinstance(value, dict | list) else name)
        return found
    return [{"field": name, "detail": _plain(detail)}]


def _plain(text: object) -> str:
    """Errors repeat what was given: half a pair in it, which JSON can spell, can be sent by nobody."""
    return str(text).encode("utf-8", "replace").decode()
