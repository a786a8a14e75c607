"""From overrides to a checked, resolved config."""
