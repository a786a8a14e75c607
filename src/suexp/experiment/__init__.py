"""One command with arms and seeds: its runs planned, made, gathered and shown."""
