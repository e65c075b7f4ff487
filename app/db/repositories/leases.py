"""The ``leases`` collection: which process has a role that only one may have at a time."""

from datetime import datetime, timedelta

from app.db.database import Database, DuplicateKeyError


class LeaseRepository:
    """Named leases over compare-and-set. Every method may raise ``StoreUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._leases = database.collection("leases")

    async def acquire(self, name: str, *, holder: str, now: datetime, length: timedelta) -> bool:
        """Take or keep the lease; false while another holder's has not run out."""
        term = {"holder": holder, "expires_at": now + length}
        renewed = await self._leases.update_one(
            {"_id": name, "$or": [{"holder": holder}, {"expires_at": {"$lte": now}}]},
            {"$set": term},
        )
        if renewed.matched:
            return True
        try:
            await self._leases.insert_one({"_id": name, **term})
        except DuplicateKeyError:
            # It is there and matched neither condition: another holds it.
            return False
        return True

    async def release(self, name: str, *, holder: str) -> None:
        """Give the lease back early, if held."""
        await self._leases.delete_many({"_id": name, "holder": holder})
