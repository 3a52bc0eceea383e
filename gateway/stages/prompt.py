"""What is asked by name: the registered prompt that a header names, put into the request before the caller's words.

Fails closed: a prompt, version, label or variable that is not there refuses the call, naming it; a model never gets a
text with a gap in it.
"""

from gateway.call import Call
from gateway.dialects.dialect import BadRequest
from gateway.dialects.prompted import variables, with_prompt
from gateway.errors import Refusal
from gateway.plane import Plane
from llmobs.prompts.definition import UnknownPrompt
from llmobs.prompts.render import render
from llmobs.prompts.template import TemplateError

HEADER = b"x-llmobs-prompt"


def prompt(call: Call, plane: Plane) -> None:
    """Rewrite the body by the prompt that the header names, if one is named. Raises Refusal."""
    named = call.headers.get(HEADER)
    if not named:
        return
    assert plane.snapshot is not None
    assert call.tenant is not None
    try:
        chosen = plane.snapshot.prompts.find(call.tenant.id, named.decode("utf-8", "replace").strip(), _who(call))
        rendered = render(chosen.version, variables(call.body))
        body = with_prompt(call.dialect.serves, call.body, rendered)
    except UnknownPrompt as error:
        raise Refusal("invalid_request", f"x-llmobs-prompt: {error}") from None
    except TemplateError as error:
        raise Refusal("invalid_request", f"the prompt {chosen.reference}: {error}") from None
    except BadRequest as error:
        raise Refusal("invalid_request", f"the body is not a valid request: {error}") from None
    call.prompt_version = chosen.reference
    call.rewrite(body)


def _who(call: Call) -> str:
    """By whom an A/B test assigns: the user, else the session, else this trace alone."""
    return call.attribution.user_id or call.attribution.session_id or call.trace_id.hex()
