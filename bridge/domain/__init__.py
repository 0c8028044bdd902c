"""The words and rules of metering: no I/O, no clock, no vendor. Everything else may import it, it imports nothing."""
