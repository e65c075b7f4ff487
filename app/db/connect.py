"""Which engine the store runs on."""

from app.core.config import Settings
from app.db.database import Database
from app.db.instrumented import InstrumentedDatabase
from app.db.sqlite import SqliteDatabase


async def connect_database(settings: Settings) -> Database:
    """The store: MongoDB where ``MONGO_URI`` is set, else the SQLite file in ``DATA_DIR``.

    A MongoDB server that is down does not fail this: it is found out by the first operation.

    Raises:
        ConfigurationError: the URI cannot be used, or a newer version wrote the SQLite file.
        StoreUnavailableError: the SQLite file cannot be opened.
    """
    if settings.mongo_uri is not None:
        # A quarter of a second that a process on SQLite need not spend.
        from app.db.mongo import MongoDatabase

        mongo = MongoDatabase.connect(settings.mongo_uri.get_secret_value(), settings)
        return InstrumentedDatabase(mongo)
    return InstrumentedDatabase(await SqliteDatabase.open(settings.sqlite_path, settings))
