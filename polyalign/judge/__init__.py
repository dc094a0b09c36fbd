"""Judges: language models that grade answers by a rubric, and what their grades are worth."""
