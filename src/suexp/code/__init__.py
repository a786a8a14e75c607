"""What code a config may name, what it says of itself, and what it can reach."""
