"""Identical requests at once: one flies, the others wait, and a failure lets one more go, never all."""

import asyncio
from typing import Any

import pytest

from gateway.single_flight import ClientGone, Flights

NAME = (1, "digest")


def never() -> "asyncio.Future[object]":
    return asyncio.get_running_loop().create_future()


def soon() -> float:
    return asyncio.get_running_loop().time() + 5


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_all_who_wait_get_the_firsts_answer() -> None:
    """S2-44: a redundant request in flight takes no second one upstream."""

    async def run() -> list[str | None]:
        flights: Flights[str] = Flights()
        flight = flights.take_off(NAME)
        assert flight is not None
        waiting = [asyncio.ensure_future(flights.answer(NAME, never(), soon())) for _ in range(50)]
        await settled()
        assert flights.take_off(NAME) is None
        flights.land(NAME, flight, "answer")
        return await asyncio.gather(*waiting)

    assert asyncio.run(run()) == ["answer"] * 50


def test_a_failure_lets_the_next_one_go_and_one_at_a_time() -> None:
    async def run() -> tuple[int, int]:
        flights: Flights[str] = Flights()
        at_once: list[int] = []
        flown = 0

        async def call() -> str:
            nonlocal flown
            while (flight := flights.take_off(NAME)) is None:
                found = await flights.answer(NAME, never(), soon())
                if found is not None:
                    return found
            flown += 1
            at_once.append(len(flights))
            number = flown
            await settled()
            flights.land(NAME, flight, "third" if number == 3 else None)
            return "own"

        await asyncio.gather(*(call() for _ in range(20)))
        return flown, max(at_once)

    assert asyncio.run(run()) == (3, 1)


def test_nobody_waits_past_its_deadline() -> None:
    async def run() -> str | None:
        flights: Flights[str] = Flights()
        flight = flights.take_off(NAME)
        assert flight is not None
        found = await flights.answer(NAME, never(), asyncio.get_running_loop().time() + 0.01)
        assert flight.waiting == []
        return found

    assert asyncio.run(run()) is None


def test_who_has_left_waits_no_more() -> None:
    async def run() -> None:
        flights: Flights[str] = Flights()
        flight = flights.take_off(NAME)
        assert flight is not None
        gone: asyncio.Future[Any] = never()
        waiting = asyncio.ensure_future(flights.answer(NAME, gone, soon()))
        await settled()
        gone.set_result({"type": "http.disconnect"})
        with pytest.raises(ClientGone):
            await waiting
        assert flight.waiting == []

    asyncio.run(run())


def test_other_tenants_and_requests_do_not_wait() -> None:
    async def run() -> None:
        flights: Flights[str] = Flights()
        assert flights.take_off((1, "a")) is not None
        assert flights.take_off((2, "a")) is not None
        assert flights.take_off((1, "b")) is not None

    asyncio.run(run())


def test_landing_twice_is_landing_once() -> None:
    async def run() -> None:
        flights: Flights[str] = Flights()
        first = flights.take_off(NAME)
        assert first is not None
        flights.land(NAME, first, None)
        second = flights.take_off(NAME)
        flights.land(NAME, first, "late")
        assert second is not None
        assert flights.take_off(NAME) is None, "the second one flies"

    asyncio.run(run())
