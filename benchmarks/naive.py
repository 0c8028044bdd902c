"""`python -m benchmarks.naive PORT URL DATABASE BASE`: the usual way to write such a gateway, as a reference.

aiomqtt as its documentation shows it (one message after the other is taken and handed to a task, `publish` waits for
the PUBACK, no TCP_NODELAY), one httpx client, and a SQLite journal with full sync and a commit per state. It promises
less: what was lost between sending and knowing stays unknown, PUBACKs are sent before anything is stored.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from typing import Any

import aiomqtt
import httpx

HOST = "127.0.0.1"


class Naive:
    """One command is one task: commit, publish, post, commit, publish."""

    def __init__(self, url: str, database: str, base: str) -> None:
        self._url = url
        self._base = base
        self._db = sqlite3.connect(database, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE journal (id TEXT PRIMARY KEY, body TEXT, state TEXT)")
        self._web = httpx.AsyncClient(trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, port: int) -> None:
        """Until the process is ended."""
        async with aiomqtt.Client(HOST, port, max_inflight_messages=0) as client:
            await client.subscribe(f"{self._base}/+/+/cmd/+", qos=1)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            async for message in client.messages:
                task = asyncio.create_task(self._carry(client, str(message.topic), message.payload))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _carry(self, client: aiomqtt.Client, topic: str, payload: Any) -> None:
        command = json.loads(payload)
        _, _, device, _, _ = topic.split("/")
        ack = topic.rpartition("/cmd/")[0] + "/ack"
        self._db.execute("INSERT INTO journal VALUES (?, ?, 'accepted')", (command["id"], str(payload)))
        await client.publish(ack, self._ack(command["id"], "accepted", final=False), qos=1)
        self._db.execute("UPDATE journal SET state = 'sent' WHERE id = ?", (command["id"],))
        body = {
            "app_id": "",
            "app_secret": "",
            "device_sn": device,
            "type": 1,
            "data": {"cmd_type": f"turn{command['state']}", "info": {}},
        }
        answer = (await self._web.post(f"{self._url}/send", json=body)).json()
        good = answer["data"]["info"]["code"] == 0
        self._db.execute("UPDATE journal SET state = 'final' WHERE id = ?", (command["id"],))
        status = "succeeded" if good else "failed"
        await client.publish(ack, self._ack(command["id"], status, final=True), qos=1)

    def _ack(self, command_id: str, status: str, *, final: bool) -> bytes:
        document = {"id": command_id, "status": status, "final": final}
        return json.dumps(document, separators=(",", ":")).encode()


if __name__ == "__main__":
    asyncio.run(Naive(*sys.argv[2:5]).run(int(sys.argv[1])))
