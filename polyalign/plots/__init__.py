"""Figures of evaluation reports."""
