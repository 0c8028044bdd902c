"""What the gateway is measured against: other ways from a push to the broker, each a process of its own."""
