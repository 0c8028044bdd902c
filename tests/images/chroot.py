"""The Dockerfile, line by line, in clean systems of its own: `make image-steps`, as root, about a minute and a half.

Where no Docker engine is, a minimal Debian with its Python stands for the image `python:3.12-slim`. Each stage gets a
fresh one; RUN, COPY, ENV, WORKDIR, USER, ENTRYPOINT, CMD and HEALTHCHECK do what they do in an image. In the end the
gateway runs in the last stage, as the image's user, on a root that is read-only but for what the volume and `--tmpfs`
give, and answers the image's own health check until it is told to stop.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.architecture.test_packaging import ROOT, stages

PACKAGES = "python3,python3-venv"
CONFIG = """
mqtt: {url: "mqtt://127.0.0.1:1"}
http: {listen: "127.0.0.1:18080"}
state: {url: "sqlite:///var/lib/meterbridge/state.db"}
accounts: []
"""


def told(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(command: Sequence[str], **options: object) -> str:
    """What it prints; a failure shows everything."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(
            f"failed ({done.returncode}): {shlex.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return str(done.stdout)


def system(base: Path) -> None:
    """A minimal system with Python, from the mirror that this machine's apt uses."""
    lines = run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"]).split(
        "\n"
    )
    site, codename = lines[0].split()
    told(f"debootstrap {codename}")
    run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename, str(base), site])
    (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def wheels(folder: Path) -> None:
    """Everything that pip will ask for: the chroot has no way to a registry."""
    told("wheels")
    with tempfile.TemporaryDirectory() as outside:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "wheel", "--wheel-dir", str(folder), str(ROOT), "setuptools>=68", "wheel"], cwd=outside)
    for ours in folder.glob("meterbridge-*"):
        ours.unlink()


@dataclass
class Stage:
    """One stage while it is carried out."""

    root: Path
    wheels: Path
    user: str = "0:0"
    workdir: str = "/"
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"}
    )
    names: dict[str, str] = field(default_factory=dict)

    def carry_out(self, instructions: Iterable[tuple[str, str]], earlier: dict[str, Path]) -> None:
        for name, arguments in instructions:
            told(f"{self.root.name}: {name} {arguments[:70]}")
            match name:
                case "ENV":
                    for one in shlex.split(arguments):
                        key, _, value = one.partition("=")
                        self.env[key] = value.replace("$PATH", self.env["PATH"])
                case "WORKDIR":
                    self.workdir = arguments
                    (self.root / arguments.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(arguments.split(), earlier)
                case "RUN":
                    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/{self.wheels.name}"}
                    run(self.command(["sh", "-c", arguments], writable=True), env={**self.env, **offline})
                case "USER":
                    self.user = arguments
                case _:
                    self.names[name] = arguments

    def _copy(self, words: list[str], earlier: dict[str, Path]) -> None:
        origin = ROOT
        if words[0].startswith("--from="):
            origin = earlier[words.pop(0).removeprefix("--from=")]
        *sources, target = words
        into = self.root / os.path.join(self.workdir, target).lstrip("/")
        for source in sources:
            found = origin / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(
                    found,
                    into,
                    symlinks=True,
                    dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, into)

    def command(self, inner: Sequence[str], *, writable: bool = False, mounts: str = "") -> list[str]:
        """A command inside, in a mount namespace of its own; nothing stays mounted when it ends."""
        root, wheels = shlex.quote(str(self.root)), shlex.quote(str(self.wheels))
        script = [
            "set -e",
            f"mount --bind {root} {root}",
            f"mkdir -p {root}/{self.wheels.name} {root}/proc",
            f"mount --bind {wheels} {root}/{self.wheels.name}",
            f"mount -t proc proc {root}/proc",
            f"mount --bind /dev {root}/dev",
            mounts,
            "" if writable else f"mount -o remount,bind,ro {root}",
            f"cd {root}",
            f'exec chroot --userspec={self.user} {root} sh -c \'cd "$0" && exec "$@"\''
            f" {shlex.quote(self.workdir)} {shlex.join(inner)}",
        ]
        return ["unshare", "--mount", "sh", "-c", "\n".join(script)]


def serve(stage: Stage) -> None:
    """ENTRYPOINT and CMD, until HEALTHCHECK is content; then STOPSIGNAL."""
    (stage.root / "etc/meterbridge/config.yaml").write_text(CONFIG)
    check = json.loads(stage.names["HEALTHCHECK"].partition("CMD ")[2])
    check = [one.replace(":8080", ":18080") for one in check]
    volume = stage.names["VOLUME"]
    inside = f"{stage.root}{volume}"
    mounts = f"mount -t tmpfs -o mode=0700,uid=10001,gid=10001 volume {inside}\nmount -t tmpfs tmp {stage.root}/tmp"
    line = [*json.loads(stage.names["ENTRYPOINT"]), *json.loads(stage.names["CMD"])]
    told(f"{' '.join(line)}")
    gateway = subprocess.Popen(stage.command(line, mounts=mounts), env=stage.env)
    try:
        until_s = time.monotonic() + 60
        while subprocess.run(
            stage.command(check), env=stage.env, capture_output=True, check=False
        ).returncode:
            if gateway.poll() is not None or time.monotonic() > until_s:
                sys.exit("the gateway does not answer its health check")
            time.sleep(0.5)
        told("the health check is content")
        (uids,) = [
            row.split()[1:]
            for row in Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
            if "Uid:" in row
        ]
        if set(uids) != {stage.user.partition(":")[0]}:
            sys.exit(f"it runs as {uids}")
        gateway.send_signal(getattr(signal, stage.names["STOPSIGNAL"]))
        status = gateway.wait(15)
        if status:
            sys.exit(f"it ended with {status}")
        told("it stopped in order")
    finally:
        if gateway.poll() is None:
            gateway.kill()
            gateway.wait(10)


def main() -> None:
    """See the module's first lines."""
    argparse.ArgumentParser(prog="python -m tests.images.chroot", description=__doc__).parse_args()
    if os.geteuid() != 0:
        sys.exit("only root may change the root: sudo make image-steps")
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="image-steps-")))
        folder.chmod(0o755)
        (folder / "wheels").mkdir()
        wheels(folder / "wheels")
        system(folder / "base")
        earlier: dict[str, Path] = {}
        for instructions in stages():
            (_, origin), *rest = instructions
            name = origin.partition(" AS ")[2] or "final"
            run(["cp", "-a", str(folder / "base"), str(folder / name)])
            stage = Stage(folder / name, folder / "wheels")
            stage.carry_out(rest, earlier)
            earlier[name] = stage.root
        serve(stage)
    told(f"every step of the Dockerfile went well ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
