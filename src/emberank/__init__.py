"""Emberank: the open, self-hosted home for retrieval models (rerankers and embedders)."""

__version__ = "0.1.0"
