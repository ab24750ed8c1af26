"""The Python package index dialect: the simple API (PEP 503, 691), files, core metadata, legacy JSON, provenance."""
