"""Data: raw corpora fetched, records deduplicated, splits merged, views written, and all of it counted."""
