"""`RoboflowInference`: what runs in each actor of `Dataset.map_batches`."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Unpack

from roboflow_async import Result, ResultStream
from roboflow_async.errors import RoboflowError
from roboflow_async.ray.client_thread import ClientThread
from roboflow_async.ray.columns import as_table, check_names, image_of, with_results
from roboflow_async.ray.job import InferenceArguments, Job

__all__ = ["RoboflowInference"]

# Rows that are handed over at once, in their order. When an actor dies, Ray runs its tasks again,
# and takes only those blocks of the second run whose number it has not yet: so a task must make the
# same blocks each time.
_ROWS: Final = 16


class RoboflowInference:
    """Runs a Workflow or a model on each row: give it to `Dataset.map_batches`.

        ds.map_batches(
            RoboflowInference,
            fn_constructor_kwargs={"workflow": ("my-workspace", "my-workflow"), "image": "path"},
            batch_format="pyarrow",
            batch_size=256,
            num_cpus=0.25,
            compute=ray.data.ActorPoolStrategy(
                size=4, max_concurrent_calls_per_actor=2, enable_true_multi_threading=True
            ),
        )

    `ray_inference` does that, and more. Each actor has one client on an event loop of its own, in a
    thread of its own, which it keeps over all batches: so a consumer that pauses delays nothing
    that is in flight. A call is a generator, which gives 16 rows at a time as they complete.
    Several calls at once (`max_concurrent_calls_per_actor`) share the client.

    A row that fails is a row with an `error`. But what is the same for every row (401, 402, 403,
    404, 423, an API that is away for longer than `max_outage`) is raised, and ends the job.

    Args:
        workflow: the names of the workspace and the Workflow, or its URL, or a dict with the
            arguments of `client.workflow`.
        model: its id, or a dict with the arguments of `client.model`; instead of a Workflow.
        image: what a row has of its image: "path": a path, which the actor reads, also `s3://`,
            `gs://`, `az://` and `https://` (extra `fsspec`); "bytes": an image file; "array": an
            array of RGB, as `ray.data.read_images` gives; "url": a URL, which the server fetches.
        column: the column with that. Default: "path", "bytes", "image" for arrays, or "url".
        output: "json": a column `output` with JSON; a pydantic model: a column for each of its
            fields, and JSON for those that are no plain values.
        requests_per_second: the rate limit of all actors together; None: no limit.
        limiter: shares the rate limit: a `RedisRateLimiter`, or a function that makes a limiter.
            Default: a `RayRateLimiter`.
        **arguments: other arguments of `RoboflowClient`, for each actor. Ray shows what is given as
            `fn_constructor_kwargs` in its logs: leave the `api_key` to the actors' environment
            (ROBOFLOW_API_KEY), or use `ray_inference`, which sends it along unseen.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(self, job: Job | None = None, /, **arguments: Unpack[InferenceArguments]) -> None:
        self._job = Job(arguments) if job is None else job
        del arguments
        self._thread = ClientThread(self._job.client)

    def __repr__(self) -> str:
        return f"<RoboflowInference {self._job!r}>"

    def __call__(self, batch: Any) -> Iterator[Any]:
        """The rows with their results, in small tables.

        Args:
            batch: rows, in any format of Ray; Arrow needs no conversion.

        Yields:
            Tables of Arrow, with the columns that the batch has, and those of the results.
        """
        job = self._job
        table = as_table(batch)
        del batch
        check_names(table, job.output)
        image = image_of(table, job.image, job.column)
        target: Any = job.target(self._thread.client())
        results: ResultStream[Result[int, Any]] = target.stream(
            range(table.num_rows), image=image, ordered=True
        )
        try:
            for start in range(0, table.num_rows, _ROWS):
                rows = table.slice(start, _ROWS)
                done = self._thread.run(_take(results, rows.num_rows))
                yield with_results(rows, done, job.output)
        except RoboflowError as error:
            error.add_note("The job ends here, because each further row would fail like this one.")
            raise
        finally:
            self._thread.run(results.aclose())

    def close(self) -> None:
        """Close the client. It is called when the actor ends in peace."""
        self._thread.close()

    def __del__(self) -> None:
        # Ray calls nothing else. At the end of the interpreter, threads may be gone already.
        with suppress(Exception):
            self.close()


async def _take(results: ResultStream[Result[int, Any]], count: int) -> list[Result[int, Any]]:
    return [await anext(results) for _ in range(count)]
