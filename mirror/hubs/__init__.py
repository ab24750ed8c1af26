"""The ecosystems the mirror speaks: one folder each, blind to one another."""
