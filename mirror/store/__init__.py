"""Where bytes live: blobs by SHA-256, spools in the making, the evidence archive."""
