"""Calls a callback URL as a vendor's platform does: per device in order, each delivery on record."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import httpx

from bridge.domain import text
from bridge.simulators.process import cancelled
from bridge.simulators.simtime import SimTime

_KEPT = 200_000
_TIMEOUT_S = 10.0
_RETRY_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)


class Posted(Protocol):
    """The record of something to post."""

    body: str
    attempts: int
    status: int
    answer: str


class Carrier:
    """Posts JSON to a customer's URLs by one client, which it closes in the end unless it was passed in."""

    def __init__(self, client: httpx.AsyncClient | None) -> None:
        self._client = client
        self._owns_client = client is None

    async def attempt(self, record: Posted, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Posts once and puts on record what came back; the answer's bytes, empty if none came."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        record.attempts += 1
        sent = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        try:
            answer = await self._client.post(url, content=record.body.encode(), headers=sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            record.status, record.answer = 0, f"{type(error).__name__}: {error}"
            return b""
        record.status, record.answer = answer.status_code, answer.text[:500]
        return answer.content

    async def aclose(self) -> None:
        if self._client is not None and self._owns_client:
            client, self._client = self._client, None
            await client.aclose()


@dataclass(slots=True)
class Delivery:
    """One callback. `status` 0: no answer came, `answer` says why. `accepted`: 200 and `code` 0 or absent."""

    n: int
    at: float
    device: str
    kind: str
    body: str
    burst: int = 0
    attempts: int = 0
    status: int = 0
    answer: str = ""
    accepted: bool = False
    done_at: float | None = None


class Deliveries:
    """The callbacks sent and waiting. Without a URL nothing is sent and nothing recorded.

    A failed delivery is not repeated unless `retry` (whether the vendor repeats is not documented).
    """

    def __init__(
        self, time: SimTime, *, url: str = "", retry: bool = False, client: httpx.AsyncClient | None = None
    ) -> None:
        self.url = url
        self.retry = retry
        self.sent: deque[Delivery] = deque(maxlen=_KEPT)
        self._time = time
        self._carrier = Carrier(client)
        self._count = 0
        self._lanes: dict[str, deque[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, device: str, kind: str, body: str, *, lane: str = "", burst: int = 0) -> Delivery | None:
        """Queues a callback behind those of its lane (default: the device); returns its record at once."""
        if not self.url:
            return None
        self._count += 1
        delivery = Delivery(self._count, self._time.real(), device, kind, body, burst=burst)
        self.sent.append(delivery)
        lane = lane or device
        if lane in self._lanes:
            self._lanes[lane].append(delivery)
            return delivery
        self._lanes[lane] = deque([delivery])
        task = asyncio.create_task(self._drain(lane), name=f"simulator:callbacks:{lane}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return delivery

    async def settled(self) -> None:
        """Returns when nothing waits any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def aclose(self) -> None:
        """Drops what waits and closes the client, unless it was passed in."""
        await cancelled(self._tasks)
        await self._carrier.aclose()

    def clear(self) -> None:
        self.sent.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "total": len(self.sent),
            "accepted": sum(delivery.accepted for delivery in self.sent),
            "deliveries": [asdict(delivery) for delivery in self.sent],
        }

    async def _drain(self, lane: str) -> None:
        waiting = self._lanes[lane]
        try:
            while waiting:
                await self._deliver(waiting[0])
                waiting.popleft()
        finally:
            del self._lanes[lane]

    async def _deliver(self, delivery: Delivery) -> None:
        await self._attempt(delivery)
        for pause_s in _RETRY_PAUSES_S if self.retry else ():
            if delivery.accepted:
                break
            await self._time.sleep(pause_s)
            await self._attempt(delivery)
        delivery.done_at = self._time.real()

    async def _attempt(self, delivery: Delivery) -> None:
        answer = await self._carrier.attempt(delivery, self.url)
        delivery.accepted = delivery.status == 200 and _says_success(answer)


def _says_success(body: bytes) -> bool:
    try:
        value = text.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("code", 0) == 0
