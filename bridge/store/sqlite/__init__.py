"""The stores on SQLite: WAL, one writer thread, group commit."""
