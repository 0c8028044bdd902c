"""The status page for people: what is there, what is wrong, what was done; and, if allowed, commands."""
