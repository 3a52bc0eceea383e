"""Room for bodies that are on their way: what has come of them and waits for the rest, over all connections.

Counted is what is there, not what a sender announces; a body that comes in one go waits for nothing and takes none.
One tenant has at most half, so that its slow senders do not keep the others' large bodies out.
"""

MOST_BYTES = 128 * 1024 * 1024


class TooMuch(Exception):
    """There is no room: the sender should come again."""


class Room:
    """Bytes held of bodies, in all and by tenant."""

    __slots__ = ("_of", "most", "taken")

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self.taken = 0
        self._of: dict[int, int] = {}

    def take(self, tenant_id: int, size: int) -> None:
        """Raises TooMuch, and then nothing is taken."""
        of_tenant = self._of.get(tenant_id, 0) + size
        if self.taken + size > self.most or of_tenant > self.most // 2:
            raise TooMuch
        self.taken += size
        self._of[tenant_id] = of_tenant

    def give_back(self, tenant_id: int, size: int) -> None:
        """What was taken."""
        self.taken -= size
        left = self._of.get(tenant_id, 0) - size
        if left > 0:
            self._of[tenant_id] = left
        else:
            self._of.pop(tenant_id, None)


class Held:
    """What one body holds of the room until it is whole, refused or given up."""

    __slots__ = ("_room", "_size", "_tenant_id")

    def __init__(self, room: Room, tenant_id: int) -> None:
        self._room = room
        self._tenant_id = tenant_id
        self._size = 0

    def more(self, size: int) -> None:
        """Raises TooMuch."""
        self._room.take(self._tenant_id, size)
        self._size += size

    def end(self) -> None:
        if self._size:
            self._room.give_back(self._tenant_id, self._size)
            self._size = 0
