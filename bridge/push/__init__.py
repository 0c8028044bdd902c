"""The HTTP side: vendors' pushes, health, metrics and the status page."""
