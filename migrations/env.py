"""Alembic's entry point: runs the migrations on the connection of `models/store/database.py`."""

from alembic import context

from models.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
