"""`python -m bridge.demo.amqtt_broker PORT`: amqtt as a process of its own, until SIGTERM or the end of its input.

Its input is a pipe from the demo, so that it does not outlive a demo that was killed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from amqtt.broker import Broker

from bridge.demo.addresses import HOST


async def serve(port: int) -> None:
    """Serves MQTT 3.1.1 to anybody on this machine."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    orphaned = asyncio.create_task(reader.read(), name="orphaned")
    orphaned.add_done_callback(lambda _done: stop.set())
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await stop.wait()
    orphaned.cancel()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(int(sys.argv[1])))
