"""`python -m bridge` is the command `meterbridge`."""

from bridge.cli import main

main()
