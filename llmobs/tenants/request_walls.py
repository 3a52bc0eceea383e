"""Middleware: a request sees the tenants of the person who is signed in, until a key says otherwise, and no more."""

from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from llmobs.tenants import seeing
from llmobs.tenants.access import caller_of_person


class Walls:
    """Keys are read later, by `authentication.KeyAuthentication`, which then says whose they are."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with seeing.seeing(seeing.NOTHING):
            return self._get_response(request)

    def process_view(self, request: HttpRequest, *view: object) -> None:
        try:
            seeing.see(caller_of_person(request.user).sees)
        except (OperationalError, InterfaceError):
            # Closed: it sees nothing. PostgreSQL is away, and the view, which asks the same, is who may say so.
            return
