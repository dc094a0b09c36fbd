"""Metrics of predictions against the human answers of the same records."""
