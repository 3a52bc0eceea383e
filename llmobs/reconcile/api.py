"""Reports over REST, and the page's two buttons: take in a file, reconcile again. Operators change, others read.

A person or key sees an account's reports only if the account is its tenant's alone.
"""

from datetime import date
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_POST
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.reconcile.accounts import account_named
from llmobs.reconcile.importing import Came, Imported, ask_for, import_report
from llmobs.reconcile.models import Account, Report
from llmobs.reconcile.reading import MOST_BYTES
from llmobs.reconcile.rows import ReportError
from llmobs.tenants import access, audit
from llmobs.tenants.audited import is_operator
from llmobs.tenants.plain_connection import plain_connection
from llmobs.tenants.resource import Listed


class ReportShown(serializers.ModelSerializer):
    account = serializers.CharField(source="account.name")

    class Meta:
        model = Report
        fields = (
            "id", "account", "kind", "form", "first_day", "last_day", "row_count", "source", "actor", "sha256",
            "fetched_at",
        )  # fmt: skip


class ReportGiven(serializers.Serializer):
    provider = serializers.CharField(max_length=100, help_text="the account, or one of its providers")
    content = serializers.CharField(
        max_length=MOST_BYTES, trim_whitespace=False, help_text="the report as text: pages of JSON, or CSV"
    )
    name = serializers.CharField(max_length=200, required=False, default="API", help_text="of the file")


class ReportList(mixins.CreateModelMixin, Listed):
    """Reports of providers, newest first; POST takes one in. The same report twice changes nothing (200, not 201)."""

    rows = Report.objects.select_related("account").defer("raw")
    serializer_class = ReportShown
    time_field = "fetched_at"

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.rows.none()
        found = self.rows.all()
        if self.slug or not self.caller.is_operator:
            found = found.filter(account__tenant__in=access.tenants(self.caller, self.slug))
        return self.in_window(found)

    @extend_schema(request=ReportGiven, responses={200: ReportShown, 201: ReportShown})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if not self.caller.is_operator:
            raise PermissionDenied("Operators alone take in providers' reports.")
        given = ReportGiven(data=request.data)
        given.is_valid(raise_exception=True)
        told = given.validated_data
        try:
            found = take_in(told["provider"], told["content"].encode(), told["name"], self.caller.actor)
        except ReportError as error:
            raise ValidationError({"content": str(error)}) from None
        shown = ReportShown(Report.objects.select_related("account").defer("raw").get(pk=found.report_id))
        return Response(shown.data, status.HTTP_201_CREATED if found.is_new else status.HTTP_200_OK)


@transaction.atomic
def take_in(provider: str, data: bytes, source: str, actor: str) -> Imported:
    """Import a report for the account of this name, with its audit entry. Raises ReportError."""
    account_id = account_named(plain_connection(), provider)
    found = import_report(plain_connection(), account_id, Came(data, source, actor, timezone.now()))
    if found.is_new:
        told = {"kind": found.kind, "first_day": str(found.first_day), "last_day": str(found.last_day)}
        report = Report.objects.select_related("account").defer("raw").get(pk=found.report_id)
        audit.record(actor, "import", report, {name: [None, value] for name, value in told.items()})
    return found


@login_required
@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    """The page's form: a file for an account."""
    if not is_operator(request):
        raise Http404
    file = request.FILES.get("report")
    back = "/reconcile/"
    if not isinstance(file, UploadedFile):
        messages.error(request, "Choose the file of a report.")
        return HttpResponseRedirect(back)
    if (file.size or 0) > MOST_BYTES:
        messages.error(request, f"The file is longer than {MOST_BYTES // 2**20} MB: give it by month.")
        return HttpResponseRedirect(back)
    name = " ".join((file.name or "file").split())[:200]
    try:
        found = take_in(request.POST.get("account", ""), file.read(), name, str(request.user.get_username()))
    except ReportError as error:
        messages.error(request, f"Not taken in. {error}")
        return HttpResponseRedirect(back)
    days = f"{found.first_day} to {found.last_day}"
    said = "taken in; it is reconciled within a minute" if found.is_new else "had already; nothing changed"
    messages.info(request, f"{found.form}, {days}, {found.rows:,} lines: {said}.")
    return HttpResponseRedirect(f"{back}?month={found.last_day:%Y-%m}")


@login_required
@require_POST
def again(request: HttpRequest, account: str, month: str) -> HttpResponse:
    """The page's button: reconcile a month once more, with the bills as they are now."""
    if not is_operator(request):
        raise Http404
    found = get_object_or_404(Account, name=account)
    try:
        first_day = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Http404 from None
    with transaction.atomic():
        ask_for(plain_connection(), found.pk, {first_day})
    messages.info(request, f"{found.name}, {month}: reconciled within a minute.")
    return HttpResponseRedirect(f"/reconcile/?month={month}")
