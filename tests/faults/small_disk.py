"""A real, small file system for one gateway: a tmpfs in a mount namespace that only the processes put there see.

Root may make one, and so may an ordinary user where the kernel gives out user namespaces. Nothing of it is left when
the process that holds it ends.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.polling import until
from tests.system.stage import ROOT

_WAYS: tuple[tuple[str, ...], ...] = (("--mount",), ("--user", "--map-root-user", "--mount"))
_BLOCK = 4096


either_way = pytest.mark.filterwarnings("default:no small file system")
"""For tests that have a stand-in: that it was used stands among the warnings of the run, and fails nothing."""


class SmallDisk:
    """One mounted file system. `folder`: where processes started with `within` find it; `seen`: where the test does."""

    def __init__(self, folder: Path, holder: subprocess.Popen[bytes], way: Sequence[str]) -> None:
        self.folder = folder
        self._holder = holder
        self.seen = Path(f"/proc/{holder.pid}/root{folder}")
        spaces = [f"--{name}" for name in ("user", "mount") if f"--{name}" in way]
        keep = ["--preserve-credentials"] if "--user" in way else []
        self.within = [
            *("nsenter", "--target", str(holder.pid), *spaces, *keep),
            *("sh", "-c", 'cd "$0" && exec "$@"', str(ROOT)),
        ]

    @property
    def free_bytes(self) -> int:
        """Room that is left."""
        told = os.statvfs(self.seen)
        return told.f_bavail * told.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Another program fills it, up to so much."""
        with (self.seen / "other").open("ab", buffering=0) as other, contextlib.suppress(OSError):
            while self.free_bytes > leave_bytes:
                other.write(b"x" * min(max(self.free_bytes - leave_bytes, _BLOCK), 256 * _BLOCK))

    def make_room(self) -> None:
        """What the other program wrote goes."""
        (self.seen / "other").unlink(missing_ok=True)

    def end(self) -> None:
        """The file system goes with the process that holds it."""
        self._holder.communicate(timeout=10)


def small_disk(folder: Path, size_bytes: int, ending: ExitStack) -> SmallDisk | None:
    """Mounts one; None where this machine lets nobody mount, and then the test's report says so."""
    folder.mkdir()
    refused = []
    for way in _WAYS:
        script = f"mount -t tmpfs -o size={size_bytes} small {folder} && echo mounted && read -r _"
        holder = subprocess.Popen(
            ["unshare", *way, "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() == b"mounted\n":
            disk = SmallDisk(folder, holder, way)
            ending.callback(disk.end)
            until(lambda disk=disk: disk.seen.exists(), 10, "the small disk is seen")
            print(f"on a file system of its own: {size_bytes} bytes, unshare {' '.join(way)}")
            return disk
        refused.append(holder.communicate(timeout=10)[1].decode().strip())
    warnings.warn(
        f"no small file system could be mounted, a stand-in is tested instead: {refused}", stacklevel=2
    )
    return None
