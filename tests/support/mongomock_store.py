"""mongomock-motor behind the store port: an engine without a server, to compare others with."""

from mongomock_motor import AsyncMongoMockClient

from app.db.mongo import MongoDatabase


class MongomockDatabase(MongoDatabase):
    """:class:`MongoDatabase` as it is, on the double's client."""

    def __init__(self) -> None:
        super().__init__(AsyncMongoMockClient(tz_aware=True), "test")

    async def ping(self) -> None:
        """The double knows no ``ping`` command, and is always there."""

    async def close(self) -> None:
        """The double's client has no connections to close."""
