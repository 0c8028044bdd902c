"""Certificates, made as the security page makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def papers(folder: Path, name: str, *, phrase: str | None = None) -> None:
    """NAME.pem and NAME.key, which belong together; with `phrase` the key is encrypted."""
    protect = ["-nodes"] if phrase is None else ["-passout", f"pass:{phrase}"]
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-days",
        "2",
        *protect,
    ]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
    subprocess.run(["openssl", *made, *files], cwd=folder, check=True, capture_output=True)
