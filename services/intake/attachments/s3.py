"""Sealed files in a bucket of any store that speaks S3, by the client `obstore` (the extra `s3`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import obstore
from obstore.store import S3Store

from services.intake.attachments.stores import READ, Missing
from shared.settings import Settings


class Bucket:
    """`s3://<bucket>/<prefix>`; large files go up in parts, and what was not finished is not there."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @classmethod
    def of(cls, settings: Settings) -> Bucket:
        """By the settings `SUSHU_FILES` and `SUSHU_S3_*`; without keys those of the machine's role are asked for."""
        bucket, _, prefix = settings.files.removeprefix("s3://").partition("/")
        if not bucket:
            raise ValueError("SUSHU_FILES names no bucket: write it as s3://<bucket>/<prefix>")
        endpoint = settings.s3_endpoint.rstrip("/") or None
        return cls(
            S3Store(
                bucket,
                prefix=prefix.strip("/") or None,
                region=settings.s3_region,
                endpoint=endpoint,
                access_key_id=settings.s3_access_key or None,
                secret_access_key=settings.s3_secret_key or None,
                virtual_hosted_style_request=False,
                client_options={"allow_http": bool(endpoint and endpoint.startswith("http://"))},
            )
        )

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        await obstore.put_async(self._store, name, parts)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        try:
            found = await obstore.get_async(self._store, name)
        except FileNotFoundError:
            raise Missing(name) from None
        async for part in found.stream(min_chunk_size=READ):
            yield bytes(part)

    async def delete(self, name: str) -> None:
        await obstore.delete_async(self._store, name)

    async def older_than(self, instant: datetime) -> AsyncIterator[str]:
        async for page in obstore.list(self._store):
            for file in page:
                if file["last_modified"] < instant:
                    yield file["path"].rpartition("/")[2]
