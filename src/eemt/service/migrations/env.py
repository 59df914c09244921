"""What Alembic runs: migrations over the connection that it is given."""

from alembic import context

from eemt.service.models import Base

connection = context.config.attributes["connection"]
# SQLite cannot change a column in place: tables are copied
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite"
)
with context.begin_transaction():
    context.run_migrations()
