"""What sends to the collector: as fast as it is taken, or at an even pace, with the time that each request took."""

import http.client
import threading
import time
from collections.abc import Mapping, Sequence

from tests.bench.platform import SECRET

HEADERS = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {SECRET}"}


def post(connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str] = HEADERS) -> None:
    """Until it is taken: 429 and 503 are repeated."""
    while True:
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            return
        if answer.status not in (429, 503):
            raise SystemExit(f"the collector answered {answer.status}: {text[:200]!r}")
        time.sleep(0.1)


def send_all(
    port: int, bodies: Sequence[bytes], senders: int, per_second: float = 0, headers: Mapping[str, str] = HEADERS
) -> list[float]:
    """Every body once, each sender waiting for its answers; sorted seconds that each took.

    `per_second`: so many requests begin in each second, and a request's time counts from when it was due.
    """
    waiting, taken, lock = iter(enumerate(bodies)), [], threading.Lock()
    began = time.perf_counter()

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while True:
            with lock:
                number, body = next(waiting, (0, b""))
            if not body:
                return
            due = began + number / per_second if per_second else time.perf_counter()
            time.sleep(max(0.0, due - time.perf_counter()))
            post(connection, body, headers)
            with lock:
                taken.append(time.perf_counter() - due)

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(taken)


def percentile(taken: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return taken[min(len(taken) - 1, int(len(taken) * share))]
