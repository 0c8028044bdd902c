"""The public contract in code: topics, payload documents, command payloads. Pure; nothing else builds them."""
