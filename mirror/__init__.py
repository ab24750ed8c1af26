"""Entrepôt: a policy-enforcing caching mirror in front of Hugging Face and PyPI."""

__version__ = "0.1.0"
