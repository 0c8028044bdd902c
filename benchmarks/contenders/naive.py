"""`python -m benchmarks.contenders.naive PORT BROKER_PORT`: what one writes in an afternoon, with aiohttp and aiomqtt.

Validates, publishes one message with QoS 1, waits for the PUBACK, answers. No duplicates, no order, no state, no disk.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiomqtt
from aiohttp import web

from benchmarks.contenders.message import PATH, TOPIC, Wrong, message_of


async def serve(port: int, broker_port: int) -> None:
    """Until it is ended."""
    async with aiomqtt.Client("127.0.0.1", broker_port, max_inflight_messages=100) as client:

        async def push(request: web.Request) -> web.Response:
            try:
                device, message = message_of(await request.json())
            except (ValueError, Wrong) as error:
                return web.json_response({"Data": None, "State": "failed", "Message": str(error)}, status=400)
            await client.publish(TOPIC.format(device), json.dumps(message), qos=1)
            return web.json_response({"Data": device, "State": "success", "Message": ""})

        app = web.Application()
        app.router.add_post(PATH, push)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print("listening", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """See the module's first lines."""
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
