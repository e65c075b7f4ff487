"""mongomock-motor behind the store port: an engine without a server, to compare others with."""

from typing import cast

from mongomock_motor import AsyncMongoMockClient
from pymongo import AsyncMongoClient

from app.db.database import Document
from app.db.mongo import MongoDatabase


class MongomockDatabase(MongoDatabase):
    """:class:`MongoDatabase` as it is, on the double's client."""

    def __init__(self) -> None:
        # It presents itself as Motor's client; the port makes no call in which the two differ.
        client = cast("AsyncMongoClient[Document]", AsyncMongoMockClient(tz_aware=True))
        super().__init__(client, "test")

    async def ping(self) -> None:
        """The double knows no ``ping`` command, and is always there."""

    async def close(self) -> None:
        """The double's client has no connections to close."""
