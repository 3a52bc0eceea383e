"""One version of a prompt, by what a reference says after its @."""

import re

from django.http import Http404

from llmobs.prompts.definition import CURRENT, LATEST
from llmobs.prompts.models import Prompt, PromptVersion


def find_version(prompt: Prompt, which: str) -> PromptVersion:
    """The version by its number, `current`, `latest` or a label. Raises Http404."""
    rows = prompt.versions.select_related("prompt")
    number = re.fullmatch(r"v?([0-9]{1,9})", which)
    if which == LATEST:
        found = rows.order_by("-number").first()
    elif which == CURRENT:
        found = rows.filter(number=prompt.current).first()
    elif number:
        found = rows.filter(number=int(number[1])).first()
    else:
        labelled = prompt.labels.filter(name=which).values("version")
        found = rows.filter(number__in=labelled).first()
    if found is None:
        raise Http404(f"The prompt has no version or label {which[:100]!r}.")
    return found
