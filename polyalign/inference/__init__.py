"""Answers of a model to every row of a split: decoding, engines and the resumable runner."""
