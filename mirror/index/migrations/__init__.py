"""Alembic revisions, shipped with the program."""

#: The newest revision; a database that names it needs nothing.
HEAD = "0008"
