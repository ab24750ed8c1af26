"""The application: one front door, our own pages, health and metrics."""
