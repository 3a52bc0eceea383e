"""Guards that record alone: they look at content in the writer, before the tenant's policy drops it.

Of the gateway's calls only what the gateway did not look at itself; of reported calls everything that is not off:
nobody can flag, mask or block what has been answered already.
"""

from collections.abc import Mapping

from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.guards.anchors import OF_INJECTIONS, may_reach
from llmobs.guards.fingerprint import tenant_key
from llmobs.guards.redactor import Redactor
from llmobs.guards.sieve import may_be_injection, may_be_sensitive, plain_texts
from llmobs.guards.signs import Sign, injections, sensitive
from llmobs.guards.texts import INPUT, OUTPUT, TOOLS, TRUSTED, Message, decode, stored
from llmobs.ingest import compiled
from llmobs.ingest.content import UNKNOWN, Clean
from llmobs.ingest.entries import Finding
from llmobs.ingest.findings import DONE, found
from llmobs.spans.record import Span
from llmobs.tenants.roster import TenantInfo

_compiled = compiled.loaded()


class Watch:
    """`key` is the installation's, from which tenants' are derived."""

    def __init__(self, tenants: Mapping[int, TenantInfo], key: bytes) -> None:
        self._tenants = tenants
        self._key = key
        self._tenant_keys: dict[int, bytes] = {}

    def findings(self, span: Span, clean: Clean = UNKNOWN) -> list[Finding]:
        """What stands in a call's content. Other spans only repeat it, and later attempts what the first was asked.

        `clean`: what `content.look` said of it.
        """
        tenant = self._tenants.get(span.tenant_id)
        if tenant is None or not span.is_call or (span.input is None and span.output is None):
            return []
        if clean.input and clean.output and not _may_reach(clean.anchors, tenant.injection_threshold_permille):
            return []
        is_ours = span.source == SOURCE_GATEWAY
        is_repeated = "llmobs.attempt" in span.attributes
        signs: list[Sign] = []
        if span.input is not None and not is_repeated:
            if _looks(tenant.injection, is_ours):
                signs += _injections(span.input, tenant.injection_threshold_permille)
            if not clean.input and _looks(tenant.sensitive_input, is_ours):
                signs += _sensitive(span.input, INPUT)
        if span.output is not None and not clean.output and _looks(tenant.sensitive_output, is_ours):
            signs += _sensitive(span.output, OUTPUT)
        return [found(sign, DONE["log"], self._key_of(span.tenant_id)) for sign in signs]

    def _key_of(self, tenant_id: int) -> bytes:
        key = self._tenant_keys.get(tenant_id)
        if key is None:
            key = self._tenant_keys[tenant_id] = tenant_key(self._key, tenant_id)
        return key


def _may_reach(anchors: int | None, threshold_permille: int) -> bool:
    return anchors is None or may_reach(anchors, threshold_permille)


def _looks(action: str, is_ours: bool) -> bool:
    return action == "log" or (action != "off" and not is_ours)


def _injections(text: str, threshold_permille: int) -> list[Sign]:
    plain = plain_texts(text) if _compiled is None or not text.isascii() else _compiled.plain_texts(text)
    if plain is None or any(
        role in TOOLS or (role not in TRUSTED and _may_be_injection(said, threshold_permille)) for role, said in plain
    ):
        return injections(_messages(text, INPUT), threshold_permille)
    return []


def _may_be_injection(text: str, threshold_permille: int) -> bool:
    if _compiled is not None and text.isascii():
        # All anchors in one pass: most texts have too few, and need no search for any sign.
        seen = _compiled.anchors_in(OF_INJECTIONS, text)
        if not may_reach(seen, threshold_permille):
            return False
    return may_be_injection(text, False, threshold_permille)


def _sensitive(text: str, where: str) -> list[Sign]:
    is_escaped = "\\" in text and ("\\u" in text or "\\/" in text)
    if not is_escaped and not may_be_sensitive(text):
        return []
    redactor = Redactor()
    for message in _messages(text, where):
        redactor.where = message.where
        for place in message.places:
            place.rewritten(redactor.redact)
    return sensitive(redactor)


def _messages(text: str, where: str) -> list[Message]:
    try:
        return stored(decode(text.encode("utf-8", "surrogatepass")), where)
    except (ValueError, RecursionError):
        return stored(text, where)
