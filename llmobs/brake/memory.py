"""What one gateway remembers of sessions: bounded, shared fairly between tenants, each step in constant time.

When all places are taken, the tenant that has the most gives up its least recent session: one with very many takes no
place of another that has less than an equal part. Tenants stand by the number of their sessions, which changes by one
at a time, so that the one with the most is known without looking for it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from llmobs.brake.subject import Subject
from llmobs.brake.track import Track

Tracks = OrderedDict[Subject, Track]  # a plain dict whose first is taken again and again looks past all that it lost


class Memory:
    """Tracks by subject, of at most so many. `forgotten` is told whom it gave up."""

    def __init__(self, most: int, forgotten: Callable[[Subject], None]) -> None:
        self._most = most
        self._forgotten = forgotten
        self._tracks: dict[int, Tracks] = {}
        self._tenants: dict[int, dict[int, None]] = {}  # by how many sessions they have
        self._greatest = 0  # of those numbers
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[Subject, Track]]:
        for tracks in self._tracks.values():
            yield from tracks.items()

    def of_tenant(self, tenant_id: int) -> Tracks:
        return self._tracks.get(tenant_id) or OrderedDict()

    def find(self, subject: Subject) -> Track | None:
        tracks = self._tracks.get(subject.tenant_id)
        return None if tracks is None else tracks.get(subject)

    def called(self, subject: Subject) -> Track:
        """The session's track, now the most recent of its tenant's."""
        tracks = self._tracks.get(subject.tenant_id)
        track = None if tracks is None else tracks.get(subject)
        if tracks is None or track is None:
            return self._begin(subject)
        tracks.move_to_end(subject)
        return track

    def clear(self) -> None:
        while self._size:
            self._give_up()

    def _begin(self, subject: Subject) -> Track:
        if self._size >= self._most:
            self._give_up()
        tracks = self._tracks.setdefault(subject.tenant_id, OrderedDict())
        track = tracks[subject] = Track()
        self._size += 1
        self._resized(subject.tenant_id, len(tracks) - 1, len(tracks))
        self._greatest = max(self._greatest, len(tracks))
        return track

    def _give_up(self) -> None:
        """The least recent session of a tenant that has the most."""
        had = self._greatest
        tenant_id = next(reversed(self._tenants[had]))
        tracks = self._tracks[tenant_id]
        subject, _ = tracks.popitem(last=False)
        self._size -= 1
        self._resized(tenant_id, had, had - 1)
        if had not in self._tenants:
            self._greatest = had - 1
        if not tracks:
            del self._tracks[tenant_id]
        self._forgotten(subject)

    def _resized(self, tenant_id: int, before: int, after: int) -> None:
        if before:
            tenants = self._tenants[before]
            del tenants[tenant_id]
            if not tenants:
                del self._tenants[before]
        if after:
            self._tenants.setdefault(after, {})[tenant_id] = None
