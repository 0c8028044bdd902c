"""The composition root: configuration → objects → tasks, and their ordered stop. Only here every class is known."""
