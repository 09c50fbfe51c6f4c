"""What is planned, and the commands that do it."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.workflows.workflow import Workflow

if TYPE_CHECKING:
    from roboflow_async import types
else:
    types = LateModule("roboflow_async.types")

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        workflow: what is to run.
        images: how many images there are.
        image_bytes: bytes of one, in the mean.
        upload: bytes a second that this machine can send.
        machine: what a deployment and a job run on.
        credits_per_hour: the price of a machine, if it is known.
        source: what the commands name as the images.
        host: the URL of the API, if it is not one of Roboflow's.
    """

    workflow: Workflow[Any]
    images: int
    image_bytes: float
    upload: float
    machine: "types.PlannedMachine"
    credits_per_hour: float | None
    source: str
    host: str | None

    @property
    def what(self) -> str:
        """The images and the Workflow, as a command names them."""
        name = self.workflow.name
        which = "--spec FILE" if name == "inline" else f"--workflow {shlex.quote(name)}"
        return f"{self.source} {which}"

    def run(self, more: str) -> str:
        """The command that sends all."""
        host = f" --host {shlex.quote(self.host)}" if self.host is not None else ""
        return f"roboflow-async run {self.what}{host}{more} -o results.jsonl"

    def run_on(self, name: str | None, kind: str, hours: float) -> str:
        """The commands that send all to a deployment."""
        tool = "roboflow-async deployments"
        if name is not None:
            url = f'"$({tool} url {shlex.quote(name)})"'
            return f"roboflow-async run {self.what} --host {url} --rps 0 -o results.jsonl"
        made = f'"$({tool} create my-machine --machine {kind} --hours {hours:g} --wait)"'
        return (
            f"roboflow-async run {self.what} --host {made} --rps 0 -o results.jsonl; "
            f"{tool} delete my-machine"
        )

    def batch(self) -> str:
        """The commands that make a job, wait for it, and get what it made."""
        name = "my-job"
        return (
            f"roboflow-async batch submit {self.what} --name {name} --machine {self.machine} && "
            f"roboflow-async batch watch {name} && roboflow-async batch results {name} "
            "-o results.jsonl"
        )
