"""The 14 corpora: one reader each, from the official raw layout to normalized records (docs/data.md)."""
