"""The work of `run`: reads images and writes lines, and handles interruptions."""

import asyncio
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roboflow_async import ConfigurationError, Model, Result, RoboflowClient, Workflow
from roboflow_async.cli.files import written_whole
from roboflow_async.cli.options import stderr
from roboflow_async.cli.run.journal import Journal, json_line
from roboflow_async.cli.run.pictures import ItemNames, save_pictures, without_pictures
from roboflow_async.cli.run.progress import RunProgress
from roboflow_async.cli.run.sources import Source
from roboflow_async.errors import plain_text
from roboflow_async.types.predictions import Prediction

__all__ = ["FailureLimit", "Job", "write_failures"]


class FailureLimit:
    """`--max-failures`: a number, or a share of the finished images (of at least 20)."""

    def __init__(self, text: str | None) -> None:
        self._most = self._share = float("inf")
        if text is None:
            return
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = -1.0
        if number < 0:
            raise ConfigurationError(
                f"--max-failures {text!r:.40} is not valid: give a number, or one with %."
            )
        if text.endswith("%"):
            self._share = number / 100
        else:
            self._most = number

    def reached(self, failed: int, done: int) -> bool:
        """Whether there are too many failures."""
        return failed > self._most or (done >= 20 and failed > self._share * done)


class Job:
    """One run of the command."""

    def __init__(
        self,
        client: RoboflowClient,
        target: Workflow[dict[str, Any]] | Model[Prediction],
        images: Source,
        journal: Journal,
        limit: FailureLimit,
        save_images: Path | None,
        *,
        include_images: bool = False,
    ) -> None:
        self._client = client
        self._target = target
        self._images = images
        self._journal = journal
        self._limit = limit
        self._save_images = save_images
        self._include_images = include_images
        self._left_out = 0
        self._names = ItemNames({*images.listed, *journal.done} if save_images is not None else ())
        self._skipped = len(journal.done)
        self._began = time.monotonic()
        self.stopped = False
        self.too_many_failures = False

    async def run(self, warm_up: int) -> None:
        """Do the work, after this many warm-up requests."""
        stopping = asyncio.Event()
        async with self._client:
            with self._interruptible(stopping):
                try:
                    if warm_up and self._images.first is not None:
                        await self._target.warm_up(self._images.first, requests=warm_up)
                    elif warm_up:
                        stderr.print("No warm-up, because the images from stdin are not known yet.")
                    await self._stream(stopping)
                except asyncio.CancelledError:
                    if not self.stopped:
                        raise

    async def _stream(self, stopping: asyncio.Event) -> None:
        remaining = self._images.items(self._journal.done.copy(), stopping)
        with RunProgress(stderr, self._images.total, self._skipped) as progress:
            async with self._target.stream(remaining) as results:
                async for result in results:
                    # Written in a thread, because a disk may be slow and pictures are large.
                    await asyncio.to_thread(self._write, result)
                    progress.advance(self._client.stats, failed=not result.ok)
                    done = len(self._journal.done)
                    if self._limit.reached(self._journal.failed, done) and not stopping.is_set():
                        self.too_many_failures = True
                        stopping.set()

    def _write(self, result: Result[str, Any]) -> None:
        line: dict[str, Any] = {"image": result.input}
        if result.error is None:
            output = result.output
            if not isinstance(output, dict):
                output = output.model_dump(mode="json", by_alias=True, exclude_none=True)
            line["output"] = output
            if self._save_images is not None:
                saved = save_pictures(output, result.input, self._save_images, self._names)
                line["output"] = output if self._include_images else saved
            elif not self._include_images:
                line["output"], names = without_pictures(output)
                if names:
                    line["left_out"] = names
                    self._tell_left_out(names)
        else:
            line["error"] = {"type": type(result.error).__name__, "message": str(result.error)}
        line["attempts"] = result.attempts
        line["latency"] = round(result.latency, 4)
        if result.processing_time is not None:
            line["processing_time"] = result.processing_time
        try:
            self._journal.write(line)
        except ValueError:  # nothing has been written yet
            del line["output"]
            told = "the output holds a number that is not finite, which JSON cannot write."
            self._journal.write({**line, "error": {"type": "ResponseError", "message": told}})

    def _tell_left_out(self, names: list[str]) -> None:
        """At once: what the run costs is not spent yet."""
        if not self._left_out:
            stderr.print(
                f"Image outputs ({plain_text(', '.join(names))[:100]}) are left out of the lines: "
                "--save-images FOLDER writes them to files, --include-images keeps them.",
                soft_wrap=True, markup=False,
            )  # fmt: skip
        self._left_out += len(names)

    @contextmanager
    def _interruptible(self, stopping: asyncio.Event) -> Generator[None]:
        """Ctrl-C once: read no more images. Twice: stop now."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            if self.stopped:
                task.cancel()
                return
            self.stopped = True
            stopping.set()
            stderr.print("\nFinishing what is in flight; Ctrl-C again stops now.")

        try:
            loop.add_signal_handler(signal.SIGINT, interrupt)
        except (NotImplementedError, RuntimeError):  # Windows; or not the main thread
            yield
            return
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def summary(self, output: Path, failures: Path | None) -> dict[str, Any]:
        """The summary of the run."""
        stats = self._client.stats
        seconds = time.monotonic() - self._began
        return {
            "images": len(self._journal.done),
            "succeeded": len(self._journal.done) - self._journal.failed,
            "failed": self._journal.failed,
            "done_before": self._skipped,
            "attempts": stats.attempts,
            "rejected": stats.rejected,
            "retried": stats.retried,
            "seconds": round(seconds, 3),
            "requests_per_second": round(stats.attempts / seconds, 3),
            "latency_p50": stats.latency_p50,
            "latency_p90": stats.latency_p90,
            "latency_p99": stats.latency_p99,
            "images_left_out": self._left_out,
            "interrupted": self.stopped,
            "too_many_failures": self.too_many_failures,
            "output": str(output),
            "failures": str(failures) if failures is not None else None,
        }


def write_failures(journal: Journal) -> Path | None:
    """Write the failures to a separate file, always from the results, so that both agree."""
    path = journal.path.with_name(f"{journal.path.name.removesuffix('.jsonl')}.failures.jsonl")
    if not journal.failed:
        path.unlink(missing_ok=True)
        return None
    with written_whole(path) as file:
        for line in journal.lines():
            if "error" in line:
                file.write(json_line({"image": line["image"], **line["error"]}))
    return path
