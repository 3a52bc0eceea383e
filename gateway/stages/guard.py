"""What is asked, looked at before anything is sent, cached or stored: length, injections, personal data, secrets.

Only guards that act in the call's path run here; those that record alone run in the writer. Where a guard masks or
blocks, what was looked at is what is sent: the body is written anew, so that a name that stands twice hides nothing.
Fails closed there: a body that cannot be read is refused.
"""

from typing import Any

from gateway.call import Call
from gateway.errors import Refusal
from gateway.guarded_stream import OutputGuard
from gateway.plane import Plane
from gateway.security import flag, names, tell
from llmobs.guards.fingerprint import tenant_key
from llmobs.guards.redactor import Redactor
from llmobs.guards.signs import Sign, injections, sensitive, too_long
from llmobs.guards.texts import Message, asked, decode, encode
from llmobs.ingest.findings import DONE, found
from llmobs.tenants.roster import TenantInfo

ACTS = frozenset({"flag", "mask", "block"})
# Guards hold the process while they read: 2 MB is half a million tokens, and about half a second of plain text.
MOST_GUARDED_CHARACTERS = 2_000_000
FAILED = "Input failed security validation"
PROMPT_HEADER = b"x-llmobs-prompt"


def guard(call: Call, plane: Plane) -> None:
    """Fill findings and the output's guard, mask the body. Raises Refusal."""
    tenant = call.tenant
    assert tenant is not None
    if not tenant.is_guarded:
        return
    key = tenant_key(plane.platform_secret.encode(), tenant.id)
    if tenant.sensitive_output in ACTS:
        call.output_guard = OutputGuard(tenant.sensitive_output, call.dialect.name, key)
    if tenant.injection in ACTS or tenant.sensitive_input in ACTS or tenant.most_input_characters is not None:
        try:
            _guard_input(call, tenant, key)
        finally:
            tell(call, call.findings, plane.counts)
        flag(call, call.findings)


def _guard_input(call: Call, tenant: TenantInfo, key: bytes) -> None:
    blocks = tenant.injection == "block" or tenant.most_input_characters is not None
    rewrites = blocks or tenant.sensitive_input in ("mask", "block")
    try:
        body = decode(call.body)
        messages = asked(body)
    except (ValueError, RecursionError):
        if rewrites:
            raise Refusal("invalid_request", "the body cannot be read by the guards that look at it") from None
        return
    if len(call.body) > MOST_GUARDED_CHARACTERS:  # pictures are not read, and may be longer
        characters = sum(len(message.text()) for message in messages)
        if characters > MOST_GUARDED_CHARACTERS:
            if not rewrites:
                return  # flags alone: the writer looks at it later
            message = f"{characters} characters of text, and guards that act read {MOST_GUARDED_CHARACTERS} at most"
            raise _refused(call, "too_large", message)
    if tenant.most_input_characters is not None:
        _check_length(call, messages, tenant.most_input_characters)
    if tenant.injection in ACTS:
        _check_injection(call, messages, tenant, key)
    if tenant.sensitive_input in ACTS:
        _check_sensitive(call, messages, tenant.sensitive_input, key)
    if rewrites:
        _send(call, body)


def _check_length(call: Call, messages: list[Message], most: int) -> None:
    signs = too_long(messages, most)
    if signs:
        _note(call, signs, "block", b"")
        longest = max(sign.count for sign in signs)
        raise _refused(call, "token_limit", f"a message has {longest} characters, {most} are allowed")


def _check_injection(call: Call, messages: list[Message], tenant: TenantInfo, key: bytes) -> None:
    signs = injections(messages, tenant.injection_threshold_permille)
    _note(call, signs, tenant.injection, key)
    if signs and tenant.injection == "block":
        raise _refused(call, "prompt_injection", "it looks like a prompt injection")


def _check_sensitive(call: Call, messages: list[Message], action: str, key: bytes) -> None:
    redactor = Redactor()
    for message in messages:
        redactor.where = message.where
        for place in message.places:
            masked = place.rewritten(redactor.redact)
            if action == "mask":
                place.holder[place.key] = masked
    signs = sensitive(redactor)
    _note(call, signs, action, key)
    if signs and action == "block":
        what = ", ".join(sorted({sign.name for sign in signs}))
        raise _refused(call, "sensitive_data", f"it holds sensitive data ({what})")


def _send(call: Call, body: Any) -> None:
    """What was looked at, in the place of the caller's bytes."""
    try:
        written = encode(body)
    except (ValueError, RecursionError):
        raise Refusal("invalid_request", "the body holds numbers that JSON cannot") from None
    if PROMPT_HEADER in call.headers:  # a later stage completes it, and reads it anew
        call.body = written
    else:
        call.rewrite(written)


def _note(call: Call, signs: list[Sign], action: str, key: bytes) -> None:
    call.findings += [found(sign, DONE[action], key) for sign in signs]


def _refused(call: Call, reason: str, why: str) -> Refusal:
    blocked = [finding for finding in call.findings if finding.action == "blocked"]
    return Refusal(reason, f"{FAILED}: {why}", {"found": names(blocked), "findings": len(blocked)})
