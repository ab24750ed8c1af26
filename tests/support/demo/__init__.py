"""`make demo`: a stand-in hub and index, the mirror as a process, a sample policy, real clients, and no network."""
