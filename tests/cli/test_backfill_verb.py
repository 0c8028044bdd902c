"""`meterbridge backfill` while it asks a cloud for its devices."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.cli.bench import Running, mosquitto


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_a_silent_cloud_is_asked_for_its_devices_it_ends(
    tmp_path: Path, number: int
) -> None:
    config = tmp_path / "config.yaml"
    with mosquitto(tmp_path) as port, socket.create_server(("127.0.0.1", 0)) as cloud:
        cloud.settimeout(60)
        config.write_text(
            f"mqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\n"
            "http: {listen: off}\n"
            f"state: {{url: 'sqlite://{tmp_path}/state.db', min_free: 0}}\n"
            "accounts:\n"
            f"  - {{id: flats, vendor: jrhsz, base_url: 'http://127.0.0.1:{cloud.getsockname()[1]}',"
            " username: u, password: p, timeout: 10m}\n"
        )
        verb = Running("backfill", "-c", str(config), "--from", "2026-01-01", "--to", "2026-01-02")
        asked, _ = cloud.accept()
        with asked:
            assert verb.end(number) == 130
    assert verb.lines == ["interrupted: nothing has been read yet"]
