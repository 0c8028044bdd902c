"""Node-RED with one flow: `http in` → `function` → `mqtt out` and `http response`. npm installs it into a cache folder.

The flow is what its documentation shows: the answer does not wait for the PUBACK, which `mqtt out` does not tell.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.contenders.message import NAMES, PATH

VERSION = "4"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meterbridge-bench" / "node-red"
_FUNCTION = f"""
const names = {json.dumps(NAMES)};
const body = msg.payload;
if (!body || typeof body.meter_comm_no !== "string" || typeof body.acquisition_time !== "string") {{
    msg.statusCode = 400;
    msg.payload = {{Data: null, State: "failed", Message: "a field is missing"}};
    return [null, msg];
}}
const metrics = {{}};
for (const field in names) if (typeof body[field] === "number") metrics[names[field]] = body[field];
const record = {{ts: body.acquisition_time, received_ts: new Date().toISOString(), source: "push", account: "gas",
    vendor: "iotmeter", device: body.meter_comm_no, kind: "gas_meter", metrics}};
const answer = RED.util.cloneMessage({{}});
answer.req = msg.req;
answer.res = msg.res;
answer.payload = {{Data: body.meter_comm_no, State: "success", Message: ""}};
return [{{topic: "contender/gas/" + body.meter_comm_no + "/telemetry", payload: record}}, answer];
"""


class Unavailable(Exception):
    """Node-RED cannot be had here; the text says why."""


def installed() -> Path:
    """The program, installed once. Raises Unavailable."""
    program = CACHE / "node_modules" / "node-red" / "red.js"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("npm or node is not installed")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--silent", f"node-red@{VERSION}"],
            cwd=CACHE,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("npm did not end within five minutes") from None
    if done.returncode or not program.exists():
        raise Unavailable(f"npm could not install it: {done.stderr.strip().splitlines()[-1:]}")
    return program


def command(folder: Path, port: int, broker_port: int) -> list[str]:
    """How it is started: flow and settings are written to `folder`. Raises Unavailable."""
    program = installed()
    (folder / "flows.json").write_text(json.dumps(_flow(broker_port)))
    (folder / "settings.js").write_text(
        f"module.exports = {{uiPort: {port}, uiHost: '127.0.0.1', httpAdminRoot: false, flowFile: 'flows.json',"
        " logging: {console: {level: 'info'}}};"
    )
    return ["node", str(program), "--userDir", str(folder), "--settings", str(folder / "settings.js")]


def _flow(broker_port: int) -> list[dict[str, Any]]:
    return [
        {"id": "tab", "type": "tab", "label": "push"},
        {
            "id": "broker",
            "type": "mqtt-broker",
            "broker": "127.0.0.1",
            "port": str(broker_port),
            "protocolVersion": "4",
            "keepalive": "60",
            "cleansession": True,
            "autoConnect": True,
        },
        {"id": "in", "type": "http in", "z": "tab", "url": PATH, "method": "post", "wires": [["make"]]},
        {
            "id": "make",
            "type": "function",
            "z": "tab",
            "func": _FUNCTION,
            "outputs": 2,
            "wires": [["out"], ["answer"]],
        },
        {
            "id": "out",
            "type": "mqtt out",
            "z": "tab",
            "qos": "1",
            "retain": "false",
            "broker": "broker",
            "wires": [],
        },
        {"id": "answer", "type": "http response", "z": "tab", "wires": []},
    ]
