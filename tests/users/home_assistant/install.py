"""Installs Home Assistant's own MQTT schemas into a folder: `python install.py FOLDER`.

They come with the whole package, in a virtual environment of its own: it pins other versions of our libraries. Device
discovery is there from 2024.11 on, which needs Python 3.12 or newer; where only 3.11 is found, an older one judges the
components. Without any that can be installed it says so and leaves no folder: those tests are then not collected.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def pythons() -> Iterator[tuple[str, str]]:
    """(interpreter, requirements), the best first."""
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (shutil.which("python3.13"), *sorted(map(str, managed.glob("3.13*/bin/python")))):
        if found and works(found):
            yield found, "requirements-2025.4.txt"
            break
    if sys.version_info < (3, 13):
        yield sys.executable, "requirements-2024.3.txt"


def works(python: str) -> bool:
    """A shim may stand where no interpreter is."""
    told = subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True, check=False)
    return told.returncode == 0


def install(python: str, requirements: str, folder: Path) -> bool:
    """Whether it is there now."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [*pip, "--no-deps", "--no-compile", "--only-binary", ":all:", "-r", str(HERE / requirements)],
            check=True,
            stderr=subprocess.PIPE,
        )
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        print((error.stderr or b"").decode(errors="replace")[-2000:], file=sys.stderr)
        return False
    return True


def main(folder: Path) -> None:
    """Tries one after the other."""
    if any(install(python, requirements, folder) for python, requirements in pythons()):
        return
    print("Home Assistant cannot be installed here: its schemas do not judge our messages in this run")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
