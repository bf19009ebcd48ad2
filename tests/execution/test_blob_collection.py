"""Blobs that no run refers to any more are removed, and no others."""

from datetime import timedelta
from pathlib import Path

import pytest

from goalgraph import action, open_planner
from goalgraph.settings import Settings, StorageSettings
from goalgraph.stores import open_stores
from planner.plan import CandidatePlan
from storage import BlobNotFound, DualStorage, FsspecBlobStore


@action
async def write_much(letter: str) -> str:
    """Return more than a record takes."""
    return letter * 400_000


@pytest.mark.parametrize("key", [None, "00" * 32], ids=["plain", "encrypted"])
async def test_only_what_no_run_refers_to_is_collected(tmp_path: Path, key: str | None) -> None:
    settings = Settings(data_dir=tmp_path, storage=StorageSettings.model_validate({"encryption_key": key}))
    plan = CandidatePlan.from_dict({"steps": [{"id": "a", "action": "write_much", "inputs": {"letter": "x"}}]})
    async with open_planner(actions=[write_much], settings=settings) as planner:
        first = await planner.execute(plan)
    async with open_stores(settings) as stores:
        storage, blobs = stores.archive, stores.blobs
        assert isinstance(storage, DualStorage)
        assert isinstance(blobs, FsspecBlobStore)
        orphan = await blobs.put(b"nobody refers to this")
        await storage.evict(first.run_id)

        assert 0 == await storage.collect_blobs(blobs)  # too young
        assert 1 == await storage.collect_blobs(blobs, older_than=timedelta(0))

        with pytest.raises(BlobNotFound):
            await blobs.get(orphan)
        assert 1 == len([digest async for digest in blobs.digests()])
        await storage.erase("thread", first.run_id)
        await storage.erase("run", first.run_id)
        assert 1 == await storage.collect_blobs(blobs, older_than=timedelta(0))
