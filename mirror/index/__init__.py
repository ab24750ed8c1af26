"""All SQL, once: documents, entries, grants, places and the queryable copy of the ledger, on SQLite or PostgreSQL."""
