"""What to distrust in a report of metrics, in sentences."""
