"""`python -m benchmarks.fleet --minutes 5`: one gateway with some five thousand devices of all vendors, measured.

Mosquitto, the simulated clouds and the gateway run as processes of their own on 127.0.0.1. See README.md here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.clouds import PUSH_SECRET, Cloud, Sizes, fleets, judge
from benchmarks.processes import HOST, Process, Usage, free_port, python, start_broker
from benchmarks.watching import BASE, Gauges, Listener

MOST_RSS_BYTES = 250 * 1024**2
MOST_LAG_S = 0.1
MB = 1e6
GATEWAY = ("-m", "bridge")


def main() -> None:
    """Runs the trial and prints the report; with `--json FILE` also as JSON."""
    chosen = _arguments()
    defaults = Sizes()
    sizes = Sizes(
        *(getattr(chosen, name) for name in ("wmj", "iammeter", "jrhsz", "saj_plants", "saj_inverters")),
        iotmeter=chosen.iotmeter,
    )
    folder = Path(chosen.folder or tempfile.mkdtemp(prefix="fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"devices: {sizes}{' (the default)' if sizes == defaults else ''}; logs in {folder}", flush=True)
    with ExitStack() as stack:
        report = Trial(folder, fleets(sizes), stack, push=chosen.push, debug=chosen.debug).run(
            chosen.minutes * 60
        )
    print_report(report)
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(report, indent=1))


def _arguments() -> argparse.Namespace:
    sizes = Sizes()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    for name in Sizes.__slots__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(sizes, name))
    parser.add_argument(
        "--push", action="store_true", help="wmj and iotmeter also push, each device every 60 s"
    )
    parser.add_argument("--debug", action="store_true", help="asyncio's debug mode: names slow callbacks")
    parser.add_argument("--folder", default="", help="where configuration, state and logs go")
    parser.add_argument("--json", default="", metavar="FILE")
    return parser.parse_args()


class Trial:
    """The processes and what was seen of them."""

    def __init__(
        self, folder: Path, clouds: Sequence[Cloud], stack: ExitStack, *, push: bool, debug: bool
    ) -> None:
        self._folder = folder
        self._clouds = clouds
        self._stack = stack
        self._push = push
        self._debug = debug
        self._http_port = free_port()
        self._roots: dict[str, str] = {}
        self._gauges = Gauges()

    def run(self, seconds: float) -> dict[str, Any]:
        """Starts everything, watches for so long, and says what was seen."""
        broker_port = free_port()
        self._stack.callback(start_broker(self._folder, broker_port).end)
        file = self._configure(broker_port)
        listener = Listener(broker_port, {cloud.vendor: cloud.devices for cloud in self._clouds})
        self._stack.callback(listener.end)
        gateway = Process(
            "gateway",
            self._folder,
            python(
                *GATEWAY,
                "run",
                "-c",
                str(file),
                "--log-format",
                "json",
            ),
            {"PYTHONASYNCIODEBUG": "1"} if self._debug else None,
        )
        self._stack.callback(gateway.end)
        listener.began = time.monotonic()
        try:
            probe = self._watch(gateway, listener, seconds)
        finally:
            last = gateway.usage()
            stopped_s = gateway.end()
        return self._report(gateway, listener, probe, last, stopped_s, seconds)

    def _configure(self, broker_port: int) -> Path:
        accounts = []
        simulators = []
        for cloud in self._clouds:
            push = []
            if self._push and cloud.push_argument:
                push = [
                    cloud.push_argument,
                    f"http://{HOST}:{self._http_port}/push/{cloud.vendor}/{PUSH_SECRET}",
                ]
                push += ["--report-every", "60"] if cloud.vendor == "wmj" else []
            command = python("-m", f"bridge.simulators.{cloud.vendor}", *cloud.arguments, *push)
            simulator = Process(cloud.vendor, self._folder, command)
            self._stack.callback(simulator.end)
            simulators.append((cloud, simulator, bool(push)))
        for cloud, simulator, pushed in simulators:
            url = simulator.wait_line("listening ")
            self._roots[cloud.vendor] = "/".join(url.split("/")[:3])
            account: dict[str, Any] = {"id": cloud.vendor, "vendor": cloud.vendor}
            account |= json.loads(json.dumps(cloud.account))
            for path in cloud.addresses:
                section = account
                for name in path[:-1]:
                    section = section[name]
                section[path[-1]] = url
            if pushed:
                account["push"] = {"secret": PUSH_SECRET}
            accounts.append(account)
        file = self._folder / "gateway.yaml"
        document = {
            "mqtt": {"url": f"mqtt://{HOST}:{broker_port}", "base_topic": BASE},
            "http": {"listen": f"{HOST}:{self._http_port}"},
            "state": {"url": f"sqlite://{self._folder}/state.db"},
            "accounts": accounts,
        }
        (self._folder / "state.db").unlink(missing_ok=True)
        file.write_text(json.dumps(document))  # JSON is YAML
        return file

    def _watch(self, gateway: Process, listener: Listener, seconds: float) -> Process:
        deadline = listener.began + seconds
        while not self._answers():
            if gateway.child.poll() is not None or time.monotonic() > listener.began + 60:
                raise RuntimeError(f"the gateway does not start\n{gateway.tail()}")
            time.sleep(0.05)
        probe = Process(
            "probe", self._folder, python("-m", "benchmarks.probe", HOST, str(self._http_port), str(seconds))
        )
        self._stack.callback(probe.end)
        told = time.monotonic()
        while time.monotonic() < deadline and gateway.child.poll() is None:
            self._gauges.sample(listener.began, gateway, self._http_port)
            if time.monotonic() - told >= 15:
                told = time.monotonic()
                rss = self._gauges.usages[-1][1].rss_bytes / MB
                print(
                    f"{told - listener.began:5.0f} s  {rss:.0f} MB  without state: {listener.missing()}",
                    flush=True,
                )
            time.sleep(0.5)
        probe.end()
        return probe

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self._http_port}/healthz", timeout=5):
                return True
        except OSError:
            return False

    def _calls(self, vendor: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self._roots[vendor]}/_sim/requests", timeout=60) as answer:
            told = json.loads(answer.read())
        return list(told["calls"])

    def _report(
        self,
        gateway: Process,
        listener: Listener,
        probe: Process,
        last: Usage | None,
        stopped_s: float,
        seconds: float,
    ) -> dict[str, Any]:
        waits = [tuple(map(float, line.split())) for line in probe.output.read_text().splitlines()]
        began_wall = time.time() - (time.monotonic() - listener.began)
        late = sorted(((wait, at - began_wall) for at, wait in waits), reverse=True)[:10]
        lags = sorted(((lag, at) for at, lag in self._gauges.lags_s), reverse=True)
        vendors = {}
        for cloud in self._clouds:
            calls = self._calls(cloud.vendor)
            vendors[cloud.vendor] = {
                "devices": cloud.devices,
                "first_state_s": listener.first_after_s.get(cloud.vendor),
                "full_picture_s": listener.full_after_s.get(cloud.vendor),
                "without_state": listener.missing().get(cloud.vendor, 0),
                "slowest_answer_s": max((call["done_at"] or 0) - call["at"] for call in calls)
                if calls
                else 0,
                "first_calls_s": _first_calls(calls, began_wall),
                "calls": dict(Counter(str(call["endpoint"]) for call in calls)),
                "refused": sum(call["status"] >= 400 or call["fault"] == "limit" for call in calls),
                "limits": [_told(judge(kept, calls)) for kept in cloud.kept],
                "statuses": listener.statuses[cloud.vendor],
            }
        return {
            "seconds": seconds,
            "rss": [(round(at, 1), used.rss_bytes) for at, used in self._gauges.usages],
            "peak_rss_bytes": last.peak_bytes if last else None,
            "cpu_s": last.cpu_s if last else None,
            "threads": last.threads if last else None,
            "lag": {"samples": len(lags), "worst": lags[:5]},
            "probe": {
                "answers": len(waits),
                "over_100_ms": sum(wait > MOST_LAG_S for _, wait in waits),
                "worst": late,
            },
            "topics": {
                f"{account}/{leaf}": count for (account, leaf), count in sorted(listener.kinds.items())
            },
            "events": listener.events,
            "vendors": vendors,
            "stopped_s": stopped_s,
            "warnings": _warnings(gateway),
        }


def _first_calls(calls: Sequence[dict[str, Any]], began: float) -> dict[str, float]:
    first: dict[str, float] = {}
    for call in calls:
        first.setdefault(str(call["endpoint"]), round(call["at"] - began, 2))
    return first


def _told(verdict: Any) -> dict[str, Any]:
    kept = verdict.kept
    return {
        "limit": f"{kept.count}/{kept.window_s:g}s {'+'.join(kept.endpoints) or ('each' if kept.each else 'all')}"
        + (" per device" if kept.per_device else ""),
        "documented": kept.documented,
        "busiest": verdict.busiest,
        "who": verdict.who,
        "shortest_s": verdict.shortest_s,
        "exceeded": verdict.exceeded,
    }


def _warnings(gateway: Process) -> dict[str, int]:
    """Lines of the gateway's log above `info`, by event and account."""
    seen: Counter[str] = Counter()
    for line in gateway.output.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            seen[line[:160]] += 1
            continue
        if str(entry.get("level", "")).lower() not in ("info", "debug"):
            seen[
                f"{entry.get('event')} {entry.get('account', '')} {entry.get('text', '')}".strip()[:200]
            ] += 1
    return dict(seen.most_common(30))


def print_report(report: dict[str, Any]) -> None:
    """The report for people."""
    rss = report["rss"]
    step = max(1, len(rss) // 12)
    print("\nmemory: " + ", ".join(f"{at:.0f}s {used / MB:.0f}" for at, used in rss[::step]) + " MB")
    peak = report["peak_rss_bytes"] or 0
    print(f"        at most {peak / MB:.0f} MB ({_verdict(peak < MOST_RSS_BYTES)}: 250 MiB)")
    print(f"cpu:    {report['cpu_s']:.1f} s in {report['seconds']:.0f} s, {report['threads']} threads")
    worst = report["lag"]["worst"]
    print(
        f"lag:    /metrics, {report['lag']['samples']} samples: at most {1000 * worst[0][0] if worst else 0:.0f} ms "
        "(the bound of the worst bucket; taken twice a second)"
    )
    probe = report["probe"]
    told = ", ".join(f"{1000 * wait:.0f} ms at {at:.0f} s" for wait, at in probe["worst"][:6])
    print(
        f"        /healthz every 50 ms, {probe['answers']} answers: {probe['over_100_ms']} later than 100 ms; {told}"
    )
    for name, seen in report["vendors"].items():
        full = (
            f"{seen['full_picture_s']:.1f} s"
            if seen["full_picture_s"]
            else f"{seen['without_state']} missing"
        )
        first = f"{seen['first_state_s']:.1f} s" if seen["first_state_s"] else "never"
        print(f"\n{name}: {seen['devices']} devices, first state after {first}, full picture: {full}")
        print(
            f"  calls {seen['calls']}, refused {seen['refused']}, "
            f"the cloud's slowest answer {seen['slowest_answer_s']:.2f} s; first calls {seen['first_calls_s']}"
        )
        for limit in seen["limits"]:
            mark = "EXCEEDED" if limit["exceeded"] else "kept"  # as it arrived, delays on the way included
            source = "" if limit["documented"] else " (own)"
            print(
                f"  {mark}: {limit['limit']}{source}: busiest {limit['busiest']} {limit['who']}{_margin(limit)}"
            )
        print("  status: " + "; ".join(f"{at:.0f}s {word}" for at, word in seen["statuses"][:8]))
    print(f"\ntopics: {report['topics']}")
    print(f"events: {report['events'][:10]}")
    print(f"warnings: {json.dumps(report['warnings'], indent=1, ensure_ascii=False)}")
    print(f"stopped in {report['stopped_s']:.1f} s")


def _margin(limit: dict[str, Any]) -> str:
    shortest_s = limit["shortest_s"]
    return "" if shortest_s is None else f" (one call too many took {shortest_s:.3f} s)"


def _verdict(well: bool) -> str:
    return "kept" if well else "MISSED"


if __name__ == "__main__":
    main()
