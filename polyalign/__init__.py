"""PolyAlign: align language models to the conditional distribution of human answers (arXiv 2606.13227)."""

__version__ = "0.1.0"
