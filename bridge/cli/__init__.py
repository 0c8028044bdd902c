"""The command line (CONTRACT section 11)."""

from bridge.cli.main import main

__all__ = ["main"]
