"""The use-cases: documents, admission, flights."""
