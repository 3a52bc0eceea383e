"""Sessions that look like a runaway, and when gateways tell each other of them: pure.

A session stays watched for a while after its last call, so that what other gateways counted since comes back to each
that had a part in it, whoever told first. It is told each second; where there are more than can be, tenants take turns,
and of a tenant those go first that called since they were last told. All within the bound of what is remembered
(`llmobs.brake.memory`): whoever is forgotten there is discarded here.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from llmobs.brake.subject import Subject

WATCHED_SECONDS = 60  # after its last call


class Suspect(NamedTuple):
    """A session that looked like a runaway when it last called."""

    subject: Subject
    window_seconds: int
    called_s: float

    def is_over(self, now_s: float) -> bool:
        """What was counted in a window that has passed is not told again as if it were of now."""
        has_passed = now_s // self.window_seconds > self.called_s // self.window_seconds
        return has_passed or now_s >= self.called_s + WATCHED_SECONDS


class _Suspects:
    """Of one tenant."""

    __slots__ = ("called", "told")

    def __init__(self) -> None:
        self.called: OrderedDict[Subject, Suspect] = OrderedDict()  # since they were last told
        self.told: OrderedDict[Subject, Suspect] = OrderedDict()


class Watch:
    """Whom to tell of."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[int, _Suspects] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(of.called) + len(of.told) for of in self._tenants.values())

    def called(self, suspect: Suspect) -> None:
        """It looks like a runaway, and called."""
        of = self._tenants.get(suspect.subject.tenant_id)
        if of is None:
            of = self._tenants[suspect.subject.tenant_id] = _Suspects()
        of.told.pop(suspect.subject, None)
        of.called[suspect.subject] = suspect

    def discard(self, subject: Subject) -> None:
        of = self._tenants.get(subject.tenant_id)
        if of is None:
            return
        of.called.pop(subject, None)
        of.told.pop(subject, None)
        if not of.called and not of.told:
            del self._tenants[subject.tenant_id]

    def turn(self, most: int, now_s: float) -> list[Suspect]:
        """Whom to tell of now. They stay watched unless their time is over."""
        found = list(self._taken(most, now_s))
        for suspect in found:
            self._tenants.setdefault(suspect.subject.tenant_id, _Suspects()).told[suspect.subject] = suspect
        return found

    def _taken(self, most: int, now_s: float) -> Iterator[Suspect]:
        for _ in range(most):
            if not self._tenants:
                return
            tenant_id, of = self._tenants.popitem(last=False)
            is_new = bool(of.called)
            _, suspect = (of.called or of.told).popitem(last=False)
            if of.called or of.told:
                self._tenants[tenant_id] = of
            if is_new or not suspect.is_over(now_s):
                yield suspect
