"""Detectors of machine text on human answers and on the predictions of every system."""
