"""Blind human evaluation: pages for annotators, and what their exports say."""
