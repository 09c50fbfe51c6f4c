"""The work of `run`: reads images and writes lines, and handles interruptions."""

import asyncio
import errno
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Final

from roboflow_async import Model, Result, ResultStream, RoboflowClient, RoboflowError, Workflow
from roboflow_async._engine.images.reading.files import FileNote
from roboflow_async._targets.journal.fingerprints import fingerprint_of
from roboflow_async.cli.files import OF_THE_DISK
from roboflow_async.cli.options import stderr
from roboflow_async.cli.run.failures import FailureLimit, as_error, write_failures
from roboflow_async.cli.run.file_names import is_address
from roboflow_async.cli.run.journal import Journal
from roboflow_async.cli.run.pictures import ItemNames, save_pictures, without_pictures
from roboflow_async.cli.run.progress import RunProgress
from roboflow_async.cli.run.sources import Source
from roboflow_async.cli.run.video.annotating import CameraDrawing
from roboflow_async.cli.run.video.cameras import Cameras
from roboflow_async.cli.run.video.clips import Clips, first_frame, total_of
from roboflow_async.cli.run.video.naming import Lost, name_of, told_of
from roboflow_async.cli.run.writing import ResultWriter
from roboflow_async.errors import plain_text
from roboflow_async.types.predictions import Prediction
from roboflow_async.video import Frame

__all__ = ["FailureLimit", "Job", "write_failures"]

_TICK: Final = 0.5  # seconds

Input = str | Frame | Lost


class Job:
    """One run of the command.

    Args:
        client: the client.
        target: what runs.
        images: the images, or the cameras.
        clips: gives the frames of clips among the images.
        journal: where the results go.
        limit: how many may fail.
        save_images: the folder for image outputs, or None.
        names: the names for the pictures of all images.
        include_images: whether lines keep image outputs.
        drawing: draws on the frames of a camera, or None.

    Attributes:
        stopped: whether Ctrl-C was pressed.
        too_many_failures: whether the limit was reached.
        trouble: why nothing more could be written, or None.
        unkept: how many results came and could not be written.
        ended: the error that ended the run early, or None.
    """

    def __init__(
        self,
        client: RoboflowClient,
        target: Workflow[dict[str, Any]] | Model[Prediction],
        images: Source | Cameras,
        clips: Clips,
        journal: Journal,
        limit: FailureLimit,
        save_images: Path | None,
        *,
        names: ItemNames,
        include_images: bool = False,
        drawing: CameraDrawing | None = None,
    ) -> None:
        self._client = client
        self._target = target
        self._images = images
        self._clips = clips
        self._journal = journal
        self._limit = limit
        self._save_images = save_images
        self._include_images = include_images
        self._drawing = drawing
        self._left_out = 0
        self._names = names
        self._files: dict[str, dict[str, Any] | None] = {}  # of the images that are being done
        self._results: ResultStream[Result[Input, Any]] | None = None
        self._warming_up: asyncio.Task[Any] | None = None
        self._frames: Counter[str] = Counter()
        self._skipped = len(journal.done)
        self._began = time.monotonic()
        self._stopping = asyncio.Event()
        self.stopped = False
        self.too_many_failures = False
        self.trouble: OSError | None = None
        self.unkept = 0
        self.ended: RoboflowError | None = None

    async def run(self, warm_up: int) -> None:
        """Do the work, after this many warm-up requests."""
        ceiling = self._client.stats.pace
        async with self._client:
            progress = RunProgress(
                stderr, self._images.total, self._skipped, ceiling=ceiling, feed=self._feed()
            )
            with progress, self._interruptible(progress):
                telling = asyncio.create_task(self._tell(progress))
                try:
                    if warm_up:
                        await self._warm_up(warm_up, progress)
                    await self._stream(progress)
                except RoboflowError as error:
                    self.ended = error
                except asyncio.CancelledError:
                    if not self.stopped:
                        raise
                finally:
                    telling.cancel()
                    progress.end(self._client.stats)

    def _feed(self) -> str:
        """What gives inputs whose number is not known."""
        if isinstance(self._images, Cameras):
            return "the camera"
        return "stdin" if self._images.has_stdin else "the video"

    async def _tell(self, progress: RunProgress) -> None:
        """Say how it goes also while no result comes."""
        while True:
            progress.tick(self._client.stats)
            await asyncio.sleep(_TICK)

    async def _warm_up(self, requests: int, progress: RunProgress) -> None:
        first: Input | None = self._images.first
        if first is None and self._images.clips:
            first = await first_frame(self._images.clips[0])
        if first is None:
            stderr.print(f"No warm-up, because nothing of {self._feed()} is known yet.")
            return
        with progress.warming_up():
            warming_up = self._target.warm_up(first, requests=requests)
            self._warming_up = asyncio.ensure_future(warming_up)
            await self._warming_up

    async def _stream(self, progress: RunProgress) -> None:
        def written(result: Result[Input, Any]) -> None:
            self._count(result)
            progress.advance(failed=not result.ok)
            if self._stopping.is_set():
                return
            done = len(self._journal.done)
            self.too_many_failures = self._limit.reached(self._journal.failed, done)
            if self.too_many_failures or self.trouble is not None:
                self._finish(progress)

        writer = ResultWriter(self._write, written)
        stream = self._target._stream  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - tells what it read
        ordered = self._drawing is not None
        async with stream(self._items(), ordered=ordered, noting=self._noting) as self._results:
            try:
                async for result in self._results:
                    await writer.put(result)
            finally:
                await writer.close()

    async def _items(self) -> AsyncGenerator[Input]:
        journal = self._journal
        to_do = journal.done, self._stopping, journal.do_again
        found: AsyncGenerator[Input]
        if isinstance(self._images, Cameras):
            found = self._images.items(*to_do)
        else:
            found = self._clips.expanded(self._images.items(*to_do), *to_do, journal.is_whole)
        async with aclosing(found) as items:
            async for item in items:
                if not isinstance(item, str):
                    file = self._clips.fingerprint_of(item)
                    if file is not None:
                        self._files[name_of(item)] = file
                elif not is_address(item):
                    self._files[name_of(item)] = None
                yield item

    def _noting(self, item: Input) -> FileNote:
        """Keeps the fingerprint of what is sent: if the file changes later, it is done again."""

        def note(status: os.stat_result, content: bytes) -> None:
            self._files[name_of(item)] = fingerprint_of(status, content)

        return note

    def _finish(self, progress: RunProgress) -> None:
        """Read and send nothing more; what was sent still comes."""
        progress.finishing = True
        self._stopping.set()
        if self._results is not None:
            self._results.finish()

    def _write(self, result: Result[Input, Any]) -> None:
        """Write a result. If something goes wrong with it alone, its line says so."""
        name = name_of(result.input)
        image = {"image": name, **told_of(result.input)}
        how = self._how(result)
        try:
            try:
                outcome = self._outcome(result)
            except Exception as error:
                if self._is_of_the_disk(error):
                    raise
                outcome = {"error": as_error(error)}
            try:
                self._journal.write(image | outcome | how)
                if self._drawing is not None and isinstance(result.input, Frame):
                    self._drawing.add(outcome, result.input)
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - nothing of it has been written yet
                self._journal.write(image | {"error": as_error(error)} | how)
        except OSError as error:
            self.trouble = self.trouble or error
            self.unkept += 1
        self._files.pop(name, None)

    def _is_of_the_disk(self, error: Exception) -> bool:
        if not isinstance(error, OSError) or self._save_images is None:
            return False
        if error.errno in (errno.EACCES, errno.EPERM):
            return not os.access(self._save_images, os.W_OK | os.X_OK)
        return error.errno in OF_THE_DISK

    def _outcome(self, result: Result[Input, Any]) -> dict[str, Any]:
        if result.error is not None:
            return {"error": as_error(result.error)}
        output = result.output
        if not isinstance(output, dict):
            output = output.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self._save_images is not None:
            item = name_of(result.input)
            saved = save_pictures(output, item, self._save_images, self._names)
            return {"output": output if self._include_images else saved}
        if self._include_images:
            return {"output": output}
        output, names = without_pictures(output)
        if not names:
            return {"output": output}
        self._tell_left_out(names)
        return {"output": output, "left_out": names}

    def _how(self, result: Result[Input, Any]) -> dict[str, Any]:
        how: dict[str, Any] = {"attempts": result.attempts, "latency": round(result.latency, 4)}
        if result.processing_time is not None:
            how["processing_time"] = result.processing_time
        name = name_of(result.input)
        if name in self._files:
            how["file"] = self._files[name]
        return how | self._clips.total_told_by(name)

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
    def _interruptible(self, progress: RunProgress) -> Generator[None]:
        """Ctrl-C once: send nothing more, and wait for what was sent. Twice: stop now.

        SIGTERM is the same: `timeout`, `docker stop` and others send it.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        signals = (signal.SIGINT, signal.SIGTERM)

        def interrupt() -> None:
            if self.stopped:
                task.cancel()
                return
            self.stopped = True
            if self._warming_up is not None:
                self._warming_up.cancel()
            self._finish(progress)
            stderr.print("\nFinishing what is in flight; Ctrl-C again stops now.")

        try:
            for number in signals:
                loop.add_signal_handler(number, interrupt)
        except (NotImplementedError, RuntimeError):  # Windows; or not the main thread
            yield
            return
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def summary(self) -> dict[str, Any]:
        """What the run did."""
        stats = self._client.stats
        seconds = time.monotonic() - self._began
        return {
            "images": len(self._journal.done),
            "succeeded": len(self._journal.done) - self._journal.failed,
            "failed": self._journal.failed,
            "done_before": self._skipped,
            "attempts": stats.attempts,
            "credits": stats.credits,
            "rejected": stats.rejected,
            "retried": stats.retried,
            "seconds": round(seconds, 3),
            "requests_per_second": round(stats.attempts / seconds, 3),
            "latency_p50": stats.latency_p50,
            "latency_p90": stats.latency_p90,
            "latency_p99": stats.latency_p99,
            "images_left_out": self._left_out,
            **self._told_frames(),
            "interrupted": self.stopped,
            "too_many_failures": self.too_many_failures,
        }

    def _count(self, result: Result[Input, Any]) -> None:
        if isinstance(result.input, Frame):
            self._frames["sent" if result.attempts else "undecodable"] += 1

    def _told_frames(self) -> dict[str, Any]:
        """What became of each frame that this start has read; nothing if there were none."""
        is_live = isinstance(self._images, Cameras)
        counts = self._images.counts if isinstance(self._images, Cameras) else self._clips.counts
        if not counts:
            return {}
        read = total_of(counts)
        if is_live:  # one that came last, and that nobody has asked for, too
            kept = read["given"] + read["sampled_out"] + read["failed"]
            read["dropped"] = max(read["dropped"], read["decoded"] - kept)
        frames = {
            "decoded": read["decoded"],
            "sent": self._frames["sent"],
            "done_before": self._clips.before,
            "sampled_out": read["sampled_out"],
            "dropped": read["dropped"],
            # Those of a camera have no line.
            "undecodable": read["failed"] if is_live else self._frames["undecodable"],
            "unsent": read["given"] - self._clips.before - self._frames.total(),
            "reconnects": read["reconnects"],
        }
        return {"live": is_live, "frames": frames}
