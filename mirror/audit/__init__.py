"""The ledger: sealing and verifying (pure), append-only segments with group commit, and the feed of the index."""
