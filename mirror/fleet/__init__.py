"""`listen.workers` above 1: a keeper process and its workers, each built from the same parts as a mirror of one process."""
