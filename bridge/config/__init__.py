"""The configuration file: YAML with places, references to variables and files, all mistakes at once."""

from bridge.config.limits import effective_limits
from bridge.config.load import load
from bridge.config.model import Configuration, LogSettings
from bridge.config.schema import schema

__all__ = ["Configuration", "LogSettings", "effective_limits", "load", "schema"]
