"""meterbridge: an asyncio gateway that maps the devices of vendor clouds to MQTT."""

__version__ = "0.1.0"
