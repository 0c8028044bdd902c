"""What survives a restart: journal, outbox, devices, alarms, budgets, dead letters. Protocols here, SQLite below."""
