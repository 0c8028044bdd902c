"""Everything on one machine: a broker, simulated vendor clouds, the gateway, its status page."""
