"""A door without a connection behind it."""

from gateway.door import Door


class Said:
    """Takes what is written."""

    is_stalled = False

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def read_on(self) -> None: ...

    def answered(self, door: Door) -> None: ...

    async def drained(self) -> None: ...


def a_door(headers: dict[bytes, bytes] | None = None, ip: str = "192.0.2.1") -> Door:
    """A POST whose client has sent nothing yet."""
    return Door(Said(), "POST", "/", headers or {}, ip)
