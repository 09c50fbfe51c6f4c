"""The stand-in's Data Staging: uploads, references, what was registered, and export."""

import json
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.testing.platform.batches import (
    Batch,
    Batches,
    Shard,
    UnreadableShardError,
    read_shard,
)
from roboflow_async.testing.platform.core import Core
from roboflow_async.testing.platform.notifications import Notifications
from roboflow_async.testing.platform.storage import Storage, StoredFile
from roboflow_async.testing.platform.wire import Refusal, first_file, json_object, page

__all__ = ["Staging", "from_library"]

_BATCHES: Final = "/data-staging/v1/external/{workspace}/batches"
_LARGEST_UPLOAD: Final = 100 * 1024**3
_MOST_REFERENCES: Final = 20_000
_REFERENCES_IN_A_SHARD: Final = 256


class Staging:
    """The endpoints of Data Staging.

    Args:
        core: what all services share.
        storage: keeps the files.
        batches: the workspace's.
        notifications: tells how registrations went.
        web: what is at each https URL that a reference may name. Nothing else is fetched.
        library: the images of the workspace's asset library, by their ids.
    """

    def __init__(
        self,
        core: Core,
        storage: Storage,
        batches: Batches,
        notifications: Notifications,
        web: Mapping[str, bytes],
        library: Mapping[str, bytes],
    ) -> None:
        self._core = core
        self._storage = storage
        self._batches = batches
        self._notifications = notifications
        self._web = web
        self._library = library

    def routes(self) -> list[Route]:
        """The routes of Data Staging."""
        one = _BATCHES + "/{batch}"
        table = [
            ("GET", _BATCHES, self._list_batches),
            ("GET", one, self._batch),
            ("GET", one + "/count", self._count),
            ("GET", one + "/parts", self._parts),
            ("GET", one + "/shards", self._shards),
            ("GET", one + "/list", self._list),
            ("POST", one + "/upload/image", self._upload_image),
            ("POST", one + "/upload/video", self._upload_video),
            ("POST", one + "/bulk-upload/image-files", self._upload_shard),
            ("POST", one + "/bulk-upload/image-references", partial(self._references, "image")),
            ("POST", one + "/bulk-upload/video-references", partial(self._references, "video")),
            ("POST", one + "/roboql-ingest", self._query),
        ]
        return [
            Route(path, self._core.endpoint("data-staging", handler), methods=[method])
            for method, path, handler in table
        ]

    # What there is

    async def _list_batches(self, request: Request) -> Response:
        items = [one.to_json() for one in self._batches.living()]
        return JSONResponse(self._page(items, request, "batches"))

    async def _batch(self, request: Request) -> Response:
        return JSONResponse({"batch": self._named(request).to_json()})

    async def _count(self, request: Request) -> Response:
        batch, part = self._named(request), request.query_params.get("partName")
        if batch.kind == "multipart-batch" and part is None:
            return JSONResponse({"count": sum(len(one.files) for one in batch.parts.values())})
        return JSONResponse({"count": len(batch.contents(part))})

    async def _parts(self, request: Request) -> Response:
        batch = self._named(request)
        if batch.kind != "multipart-batch":
            raise Refusal(400, f"The batch is a {batch.kind}, which has no parts.")
        return JSONResponse({"batchParts": [one.to_json() for one in batch.parts.values()]})

    async def _shards(self, request: Request) -> Response:
        items = [one.to_json() for one in self._named(request).shards]
        return JSONResponse(self._page(items, request, "shards"))

    async def _list(self, request: Request) -> Response:
        batch = self._named(request)
        contents = batch.contents(request.query_params.get("partName"))
        found = self._page(contents, request, "filesMetadata")
        found["filesMetadata"] = [self._listed(*one) for one in found["filesMetadata"]]
        return JSONResponse(found)

    def _listed(self, file: StoredFile, part: str | None, shard: str | None) -> JSONObject:
        name = file.name
        if self._core.strikes("hostile_file_name", name):
            name = f"../../../outside/{name}"
        return {
            "downloadURL": self._storage.download_url(file),
            "fileName": name,
            "partName": part,
            "shardId": shard,
            "contentType": file.content_type,
            "nestedContentType": file.nested_content_type,
        }

    def _named(self, request: Request) -> Batch:
        return self._batches.find(request.path_params["batch"])

    def _page(self, items: list[Any], request: Request, name: str) -> JSONObject:
        return page(items, request.query_params, name, size=self._core.knobs.page_size)

    # Uploads

    def _input(self, request: Request, kind: str, content: str) -> Batch:
        name = request.query_params.get("displayName")
        return self._batches.for_input(request.path_params["batch"], name, kind, content)

    async def _upload_image(self, request: Request) -> Response:
        batch = self._input(request, "simple-batch", "images")
        body = await request.body()
        name, content = first_file(body, request.headers.get("content-type", ""))
        name = request.query_params.get("fileName") or name
        if len(content) > self._core.knobs.max_image_bytes:
            raise Refusal(413, f"The image has more than {self._core.knobs.max_image_bytes} bytes.")
        batch.files[name] = self._storage.keep(name, content)
        self._core.meter.stored[f"{batch.batch_id}/{name}"] += 1
        return JSONResponse({"fileName": name})

    async def _upload_video(self, request: Request) -> Response:
        name = request.query_params.get("fileName")
        if not name:
            raise Refusal(400, "fileName is missing.")
        batch = self._input(request, "simple-batch", "videos")

        async def arrived(path: Path, size: int, _: float) -> None:
            batch.files[name] = StoredFile(name, path, size, content_type="videos")
            self._core.meter.stored[f"{batch.batch_id}/{name}"] += 1

        details = self._storage.upload_details(_LARGEST_UPLOAD, arrived)
        return JSONResponse({"signedURLDetails": details})

    async def _upload_shard(self, request: Request) -> Response:
        batch = self._input(request, "sharded-batch", "images")

        async def arrived(path: Path, _: int, when: float) -> None:
            shard = self._new_shard(batch, when)

            async def register(at: float) -> None:
                await self._register_archive(batch, shard, path, at)

            self._core.schedule.at(when + self._core.knobs.indexing, register)

        details = self._storage.upload_details(_LARGEST_UPLOAD, arrived)
        return JSONResponse({"signedURLDetails": details})

    def _new_shard(self, batch: Batch, when: float) -> Shard:
        shard = Shard(uuid.uuid4().hex, when)
        batch.shards.append(shard)
        return shard

    async def _register_archive(self, batch: Batch, shard: Shard, path: Path, at: float) -> None:
        most = self._core.knobs.max_shard_images
        try:
            files, config = await run_in_threadpool(read_shard, path, most)
        except UnreadableShardError as error:
            self._end_shard(batch, shard, {}, at, problem=str(error))
            return
        for name in files:
            self._core.meter.stored[f"{batch.batch_id}/{name}"] += 1
        notify = _config(config)
        url, ingest_id = notify.get("notificationsURL"), notify.get("ingestId")
        self._end_shard(batch, shard, files, at, url=url, ingest_id=ingest_id)

    def _end_shard(
        self,
        batch: Batch,
        shard: Shard,
        files: dict[str, StoredFile],
        at: float,
        *,
        problem: str | None = None,
        failed: list[str] | None = None,
        url: str | None = None,
        ingest_id: str | None = None,
        with_files: bool = False,
    ) -> None:
        if self._core.strikes("shard_failed", batch.batch_id):
            problem, files = "the stand-in was told to let it fail", {}
        shard.files, shard.at, shard.problem = files, at, problem
        shard.status_type = "success" if problem is None else "error"
        self._notifications.shard_ended(
            url,
            ingest_id,
            batch.batch_id,
            shard.shard_id,
            ingested=list(files),
            failed=failed or [],
            problem=problem,
            with_files=with_files,
        )

    # References

    async def _references(self, kind: str, request: Request) -> Response:
        body = await json_object(request)
        references = self._references_in(body, kind)
        batch = self._input(request, "sharded-batch", f"{kind}s")
        ingest_id = str(body.get("ingestId") or uuid.uuid4())
        if is_duplicate := ingest_id in batch.ingests:
            shard_ids = batch.ingests[ingest_id]
        else:
            shard_ids = self._begin_ingest(batch, ingest_id, references, body)
        response: JSONObject = {"ingestId": ingest_id, "duplicated": is_duplicate}
        if kind == "image":
            response["shardIds"] = shard_ids
        return JSONResponse(response)

    def _references_in(self, body: JSONObject, kind: str) -> list[tuple[str, str]]:
        given: object = body.get(f"{kind}References")
        url = body.get(f"{kind}ReferencesURL")
        if given is None and isinstance(url, str):
            if url not in self._web or not url.startswith("https://"):
                raise Refusal(400, "The file of references cannot be fetched.")
            given = [json.loads(line) for line in self._web[url].splitlines() if line.strip()]
        if not is_array(given) or not given or len(given) > _MOST_REFERENCES:
            raise Refusal(400, f"{kind}References needs 1 to {_MOST_REFERENCES} references.")
        references: list[tuple[str, str]] = []
        for one in given:
            name = one.get("name") if is_object(one) else None
            target = one.get("url") if is_object(one) else None
            if not isinstance(name, str) or not isinstance(target, str):
                raise Refusal(400, "Each reference needs a name and a url.")
            if not target.startswith("https://"):
                raise Refusal(400, "unsafe-url-detected", "Only https URLs are fetched.")
            references.append((name, target))
        return references

    def _begin_ingest(
        self, batch: Batch, ingest_id: str, references: list[tuple[str, str]], body: JSONObject
    ) -> list[str]:
        now = self._core.now()
        with_files = "files-status" in (body.get("notificationCategories") or [])
        ids: list[str] = []
        for start in range(0, len(references), _REFERENCES_IN_A_SHARD):
            shard = self._new_shard(batch, now)
            ids.append(shard.shard_id)
            some = references[start : start + _REFERENCES_IN_A_SHARD]

            async def register(
                at: float, shard: Shard = shard, some: list[tuple[str, str]] = some
            ) -> None:
                found = {name: self._web[url] for name, url in some if url in self._web}
                failed = [name for name, url in some if url not in self._web]
                self._end_shard(
                    batch, shard, self._kept(found, batch), at, failed=failed,
                    problem=None if found else "no file can be fetched",
                    url=body.get("notificationsURL"), ingest_id=ingest_id, with_files=with_files,
                )  # fmt: skip

            self._core.schedule.at(now + self._core.knobs.indexing, register)
        batch.ingests[ingest_id] = ids
        return ids

    def _kept(self, found: Mapping[str, bytes], batch: Batch) -> dict[str, StoredFile]:
        kind = "videos" if batch.content == "videos" else "images"
        for name in found:
            self._core.meter.stored[f"{batch.batch_id}/{name}"] += 1
        return {
            name: self._storage.keep(name, content, content_type=kind)
            for name, content in found.items()
        }

    async def _query(self, request: Request) -> Response:
        body = await json_object(request)
        query = body.get("query")
        if not isinstance(query, str):
            raise Refusal(400, "query has to be a string.")
        name = body.get("displayName")
        batch_id = request.path_params["batch"]
        batch = self._batches.for_input(batch_id, name, "sharded-batch", "images")
        ingest_id = str(body.get("ingestId") or uuid.uuid4())

        async def register(at: float) -> None:
            # Only now there is a shard: until then all counts are 0.
            shard = self._new_shard(batch, at)
            files = self._kept(from_library(self._library, query), batch)
            url = body.get("notificationsURL")
            self._end_shard(batch, shard, files, at, url=url, ingest_id=ingest_id)

        self._core.schedule.at(self._core.now() + self._core.knobs.indexing, register)
        return JSONResponse({"ingestId": ingest_id}, 202)


def from_library(library: Mapping[str, bytes], query: str) -> dict[str, bytes]:
    """The images whose ids contain the query; all for an empty one."""
    return {name: content for name, content in library.items() if query in name}


def _config(raw: bytes | None) -> JSONObject:
    try:
        config: object = json.loads(raw) if raw is not None else {}
    except ValueError:
        return {}
    return config if is_object(config) else {}
