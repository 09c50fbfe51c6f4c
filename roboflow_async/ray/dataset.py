"""`ray_inference`: a dataset of Ray Data with the results of each row."""

from typing import TYPE_CHECKING, Any, Final, Unpack

from roboflow_async import ConfigurationError
from roboflow_async._engine.checks import check_number
from roboflow_async.ray.columns import ImageKind
from roboflow_async.ray.inference import RoboflowInference
from roboflow_async.ray.job import InferenceArguments, Job
from roboflow_async.ray.libraries import load

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["ray_inference"]

# Rows of a task. What an actor had in hand when it died is sent again, and a task's rows are handed
# over together, so there should not be many; and enough that their end, with fewer and fewer
# requests in flight, does not matter. The images of a task should fit into a block of 128 MB.
_BATCH: Final[dict[ImageKind, int]] = {"path": 256, "url": 256, "bytes": 64, "array": 16}
_CALLS: Final = 2  # the second task begins while the first one waits for its last responses


def ray_inference(
    ds: "Dataset",
    *,
    actors: int = 4,
    num_cpus: float = 0.25,
    batch_size: int | None = None,
    **arguments: Unpack[InferenceArguments],
) -> "Dataset":
    """Run a Workflow or a model on each row of a dataset.

        ds = ray_inference(ds, workflow=("my-workspace", "my-workflow"), image="path")

    Nothing is sent before the dataset is consumed. Each row keeps its columns, and gets `output`
    (JSON, or the columns of a pydantic model), and

    - `error` and `error_type`: why there is no output, and the name of the error's class, or null;
    - `attempts`: requests that were sent for it; each is metered by the API;
    - `latency`: seconds that the last of them took.

    All actors together keep `requests_per_second`. An actor that dies is replaced, and each row is
    in the dataset once. The rows that it had in hand (two batches at most) are sent, and billed,
    again. What is the same for every row (401, 402, 403, 404, 423) ends the job.

    Args:
        ds: the dataset. The order of its rows is kept if `DataContext` says so.
        actors: how many processes send. One can keep 20 requests a second; give more for more
            images to read and encode, and for other machines to take part.
        num_cpus: of each actor, as Ray counts them.
        batch_size: rows of one task. Default: 256 for paths and URLs, 64 for bytes, 16 for arrays.
        **arguments: those of `RoboflowInference`: `workflow` or `model`, `image`, `column`,
            `output`, `requests_per_second`, `limiter`, and other arguments of `RoboflowClient`.

    Raises:
        ConfigurationError: an argument is wrong, or the extra is missing. Nothing was sent.
    """
    data: Any = load("ray.data")
    check_number("actors", actors, at_least=1, at_most=10_000, whole=True)
    check_number("num_cpus", num_cpus, at_least=0)
    if batch_size is not None:
        check_number("batch_size", batch_size, at_least=1, at_most=1_000_000, whole=True)
    given: Any = ds
    if not isinstance(given, data.Dataset):
        raise ConfigurationError(f"ds is of type {type(given).__name__}, not a ray.data.Dataset.")
    job = Job(arguments)
    del arguments
    rows = batch_size or _BATCH[job.image]
    return given.repartition(target_num_rows_per_block=rows, strict=True).map_batches(
        RoboflowInference,
        fn_constructor_args=(job,),
        batch_format="pyarrow",
        batch_size=rows,
        udf_modifying_row_count=False,
        num_cpus=num_cpus,
        compute=data.ActorPoolStrategy(
            size=actors,
            max_concurrent_calls_per_actor=_CALLS,
            enable_true_multi_threading=True,
        ),
    )
