"""From config to run to results to report."""
