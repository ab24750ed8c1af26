"""The way out: one client session a hub instance, and the rules on where it may go and what it may take along."""
