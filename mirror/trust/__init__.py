"""Keys, cards and signed statements as they lie on disk."""
