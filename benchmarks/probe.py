"""`python -m benchmarks.probe HOST PORT SECONDS`: asks `/healthz` every 50 ms and writes `elapsed_s waited_s`.

A process of its own, so that nothing else delays it. An answer is late by as long as the gateway's event loop was
blocked, plus what the machine's other processes take: the figures are an upper bound.
"""

from __future__ import annotations

import socket
import sys
import time

EVERY_S = 0.05
_ASK = b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n"


def probe(host: str, port: int, seconds: float) -> None:
    """Runs for so many seconds or until the gateway is gone."""
    began = time.monotonic()
    line = socket.create_connection((host, port), timeout=30)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while (now := time.monotonic()) - began < seconds:
        line.sendall(_ASK)
        answer = b""
        while b"}" not in answer:
            more = line.recv(4096)
            if not more:
                return
            answer += more
        waited = time.monotonic() - now
        sys.stdout.write(f"{time.time():.3f} {waited:.5f}\n")
        sys.stdout.flush()
        time.sleep(max(0.0, EVERY_S - waited))


if __name__ == "__main__":
    try:
        probe(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
