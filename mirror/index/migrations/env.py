"""Alembic's entry: runs on the connection that `mirror.index.engine` hands over."""

from alembic import context

from mirror.index.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
