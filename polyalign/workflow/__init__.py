"""The workflow seen from outside: its plan, status and provenance, its rules and environments as pages and files."""
