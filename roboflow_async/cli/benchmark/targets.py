"""What `benchmark api-speed` measures, from its flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from roboflow_async import ConfigurationError, Model, RoboflowClient, Workflow
from roboflow_async._targets.workflows.requests import WorkflowOptions
from roboflow_async.cli.benchmark.batches import BatchModelCodec, BatchWorkflowCodec
from roboflow_async.cli.benchmark.model_config import read_model_config
from roboflow_async.types.model_options import Route

__all__ = ["Measured", "Wanted"]

Measured = Workflow[Any] | Model[Any]


@dataclass(frozen=True)
class Wanted:
    """The flags that choose what is measured."""

    model_id: str | None
    workspace_name: str | None
    workflow_id: str | None
    specification: Any
    parameters: dict[str, Any]
    batch_size: int
    model_config: Path | None
    legacy_endpoints: bool

    @property
    def name(self) -> str:
        """What is measured, for a title."""
        if self.model_id is not None:
            name = f"model {self.model_id}"
        elif self.specification is not None:
            name = "a Workflow of your own"
        else:
            options = self._workflow_options()
            name = f"Workflow {options.workspace_name}/{options.workflow_id}"
        return name if self.batch_size == 1 else f"{name}, {self.batch_size} images a request"

    def target(self, client: RoboflowClient) -> Measured:
        """What is sent.

        Raises:
            ConfigurationError: the flags do not go together, or a value is wrong.
        """
        if self.model_id is None:
            return self._workflow(client)
        options: dict[str, Any] = {}
        if self.model_config is not None:
            options, _ = read_model_config(self.model_config)
        options["disable_active_learning"] = True
        if self.batch_size == 1:
            route: Route | None = "path" if self.legacy_endpoints else None
            # The client checks the options, whose names and values a user wrote.
            return cast("Model[Any]", client.model(self.model_id, route=route, **options))
        if self.legacy_endpoints:
            raise ConfigurationError(
                "--legacy-endpoints take one image in each request: give them without --batch_size."
            )
        context = client._context  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this package
        codec = BatchModelCodec(
            context, self.model_id, task=None, route=None, max_side=None, options=options
        )
        return Model(context, codec, priority=None)

    def without_effect(self) -> list[str]:
        """A line for each flag that changes nothing here."""
        lines: list[str] = []
        if self.model_id is None:
            if self.model_config is not None:
                lines.append("--model_config has no effect on a Workflow: it is for --model_id.")
            if self.legacy_endpoints:
                lines.append(
                    "--legacy-endpoints has no effect on a Workflow: it is for --model_id."
                )
        elif self.model_config is not None:
            names = read_model_config(self.model_config)[1]
            if names:
                lines.append(
                    f"--model_config: without effect here: {', '.join(names)} (for inference_sdk "
                    "itself, or set by this benchmark)."
                )
        return lines

    def _workflow(self, client: RoboflowClient) -> Workflow[Any]:
        options = self._workflow_options()
        if self.batch_size == 1:
            return client.workflow(
                options.workspace_name, options.workflow_id,
                specification=options.specification, parameters=self.parameters,
            )  # fmt: skip
        context = client._context  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this package
        codec = BatchWorkflowCodec(
            context, options, image_input="image", parameters=self.parameters, output_type=None,
            max_side=None,
        )  # fmt: skip
        return Workflow(context, codec, priority=None)

    def _workflow_options(self) -> WorkflowOptions:
        return WorkflowOptions.checked(
            self.workspace_name, self.workflow_id, self.specification, None, None,
            use_cache=True, disable_sinks=False,
        )  # fmt: skip
