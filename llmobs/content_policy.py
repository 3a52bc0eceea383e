"""The admin's content security policy: the site's own, but that its widgets may evaluate their expressions."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

Handler = Callable[[HttpRequest], HttpResponseBase]


class AdminPolicy:
    """Runs within django-csp's middleware, which reads the mark that it leaves on the response."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.path_info.startswith("/admin/"):
            response._csp_replace = {"script-src": settings.ADMIN_SCRIPT_SOURCES}  # type: ignore[attr-defined]
        return response
