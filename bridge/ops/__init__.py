"""Running it: clock, logs, counters, the service manager."""
