"""Watching a socket for writing as aiomqtt does, without its one hole.

aiomqtt adds the writer from a callback of the event loop. Where uvloop has given the socket up meanwhile, because the
broker reset it, that raises inside the loop: a traceback in the log, and nobody learns that the connection is gone.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt


def guard_writing(client: aiomqtt.Client) -> None:
    """Makes that the end of the connection. To be called in the event loop, before the client connects."""
    loop = asyncio.get_running_loop()
    paho: Any = client._client  # noqa: SLF001 - aiomqtt's hook is set on it

    def end(error: Exception) -> None:
        stands = client._connected.done()  # noqa: SLF001 - aiomqtt keeps its state nowhere else
        future = client._disconnected if stands else client._connected  # noqa: SLF001 - as above
        if not future.done():
            future.set_exception(error)

    def write() -> None:
        try:
            paho.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection broke
            end(error)

    def watch(number: int) -> None:
        try:
            loop.add_writer(number, write)
        except (RuntimeError, ValueError, OSError):
            end(aiomqtt.MqttError("the connection was reset"))

    def register(_client: Any, _data: Any, sock: Any) -> None:
        loop.call_soon_threadsafe(watch, sock.fileno())

    paho.on_socket_register_write = register
