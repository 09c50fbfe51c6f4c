"""What a target makes of an input, and what it needs from its client for that."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.url_policy import check_parameter
from roboflow_async._engine.images.video_frames import with_video_metadata
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.quick_dataclass import quick_dataclass
from roboflow_async._engine.runtime import Engine
from roboflow_async._targets.models.tasks import TaskLookup
from roboflow_async._targets.workflows.batch_work import RunBatch
from roboflow_async._targets.workflows.interface import InterfaceLookup
from roboflow_async.errors import ImageError

if TYPE_CHECKING:
    from roboflow_async._engine import views
else:
    views = LateModule("roboflow_async._engine.views")

__all__ = ["Prepared", "TargetContext", "load_all"]

_DEEPEST_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class TargetContext:
    """What a target needs from its client."""

    engine: Engine
    tasks: TaskLookup
    interfaces: InterfaceLookup
    run_batch: RunBatch

    def with_options(self, options: Mapping[str, Any]) -> "TargetContext":
        """The same with other settings for calls; see `CallOptions`."""
        engine = views.EngineView(self.engine, views.checked_options(options))
        return replace(
            self,
            engine=engine,
            tasks=self.tasks.asking_by(engine),
            interfaces=self.interfaces.asking_by(engine),
        )

    def check_parameters(
        self, parameters: Mapping[str, object], *, are_texts: bool = False
    ) -> None:
        """Raise `ImageError` if a parameter may hold an image that the client must not pass on."""
        settings = self.engine.settings
        for name, value in parameters.items():
            check_parameter(
                name,
                value,
                settings.allow_urls,
                allow_paths=settings.allow_paths,
                is_text=are_texts,
            )


@quick_dataclass
class Prepared:
    """A request, and how its image was made smaller, which its coordinates depend on.

    It does not hold the image's bytes: the request's body does.
    """

    request: PreparedRequest
    resizing: Resizing | None
    given_size: tuple[int, int] | None = None
    """Width and height in pixels of the image that was given, or None if they are not known."""
    image: object = None
    """A path or URL that `image=` gave for an item."""


async def load_all(
    loader: ImageLoader,
    value: object,
    *,
    kind: str = "image",
    for_workflow: bool = False,
    depth: int = 0,
) -> Any:
    """Load an image, or all images in lists and dicts.

    Args:
        loader: the client's.
        value: an image, or lists and dicts of them.
        kind: as `ImageLoader.load` takes it.
        for_workflow: whether to tell what is known of a frame of a video.
        depth: how many lists and dicts it is in.
    """
    if depth > _DEEPEST_BATCH:
        raise ImageError(f"images are nested in more than {_DEEPEST_BATCH} lists or dicts.")
    again = partial(load_all, loader, kind=kind, for_workflow=for_workflow, depth=depth + 1)
    if isinstance(value, (list, tuple)):
        items = cast("list[object]", value)
        return [await again(item) for item in items]
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return {name: await again(item) for name, item in named.items()}
    loaded = await loader.load(value, kind=kind)
    return with_video_metadata(loaded, value) if for_workflow else loaded
