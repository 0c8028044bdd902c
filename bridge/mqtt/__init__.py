"""The broker: one MQTT session that publishes what the outbox holds and hands over commands."""
