"""The base of every task: what is trained, measured and predicted, by template hooks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar, Generic, Literal, cast, final, get_args, get_origin

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torchmetrics import MeanMetric, MetricCollection
from typing_extensions import TypeVar

from recollect.training.checkpoints import check_fit, check_task, sign
from recollect.training.data import DataModule
from recollect.training.errors import ArgumentError, UserError
from recollect.training.figures import NamedFigure
from recollect.training.finite import check_finite, named_tensors
from recollect.training.schedules import check_resumed, fit_schedule, length_argument, planned_length
from recollect.training.sharding import shard_module

Stage = Literal["val", "test"]

D = TypeVar("D", bound=DataModule, default=Any)


class Task(LightningModule, ABC, Generic[D]):
    """What is trained, measured and predicted; a subclass fills in the hooks, so that every task reads alike.

    A subclass names its kind of data, ``class Classification(Task[ImageData])``, takes typed arguments of its
    own, passes ``optimizer``, ``scheduler``, ``scheduler_interval`` on, and implements ``build_model``,
    ``build_metrics``, ``training_loss``, ``evaluate`` and ``predict``. It need not save hyperparameters: what
    a run was made of is its ``config.yaml``, and nothing in a checkpoint overrides a flag.

    Args:
        optimizer: Makes the optimiser from the parameters; in YAML a ``class_path`` with ``init_args``. The
            ``default_optimizer`` of the class by default.
        scheduler: Makes the learning-rate schedule from the optimiser; constant by default. A schedule with
            an end (``OneCycleLR``, ``CosineAnnealingLR``, a falling ``LinearLR``) is made as long as the
            training.
        scheduler_interval: Whether the schedule counts optimiser steps or epochs.
    """

    model: nn.Module
    """What ``build_model`` made; there once the trainer has called ``configure_model``."""

    model_methods: tuple[str, ...] = ()
    """Methods of the model, besides ``forward``, that the task calls: sharded training must know them."""

    data_type: type = DataModule
    """The kind of data that the task needs: the argument of ``Task[…]``."""

    default_optimizer: ClassVar[type[Optimizer]] = AdamW
    """Makes the optimiser where none is given. It is no default argument: the command line would hand the
    arguments of the default class, such as its weight decay, on to whatever class replaces it."""

    prediction_file: str = "predictions.jsonl"
    """What ``predict`` writes in the run folder by default: ``.jsonl`` or ``.csv``."""

    def __init__(
        self,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__()
        self.optimizer = optimizer or cast(OptimizerCallable, self.default_optimizer)
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self._resumed = False
        self.metrics = nn.ModuleDict()  # by stage
        self.losses = nn.ModuleDict({"val": MeanMetric(), "test": MeanMetric()})
        self.training_notes: list[str] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take ``data_type`` from the argument of ``Task[…]``."""
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            if isinstance(origin, type) and issubclass(origin, Task) and isinstance(arguments[0], type):
                cls.data_type = arguments[0]

    @property
    def data(self) -> D:
        """The data module of the trainer."""
        return cast(D, cast(Any, self.trainer).datamodule)

    def stage_metrics(self, stage: Stage) -> MetricCollection:
        """Return the metrics of validation or test."""
        return cast(MetricCollection, self.metrics[stage])

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def build_model(self, data: D) -> nn.Module:
        """The network, its sizes taken from the data module, which has been set up."""

    @abstractmethod
    def build_metrics(self, data: D) -> MetricCollection:
        """What is measured in validation and test, by name; logged as ``val/<name>`` and ``test/<name>``."""

    @abstractmethod
    def training_loss(self, batch: Any) -> tuple[Tensor, int]:
        """The loss to descend, and over how many items it is a mean; logged as ``train/loss``."""

    @abstractmethod
    def evaluate(self, batch: Any, metrics: MetricCollection) -> Tensor | None:
        """Update ``metrics`` with a batch; a mean loss, if any, is logged as ``val/loss``, ``test/loss``."""

    @abstractmethod
    def predict(self, batch: Any) -> list[dict[str, Any]]:
        """One row for each item of the batch, of what JSON can hold."""

    # --- what a subclass may replace ------------------------------------------------------------------------

    def summarize(self, stage: Stage, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is logged at the end of an epoch, without the stage; ``values`` as the metrics gave them."""
        return values

    @property
    def notes(self) -> list[str]:
        """What a reader of the results has to know about how they were measured; none by default."""
        return []

    def figures(self, batch: Any) -> Sequence[NamedFigure]:
        """A few items of the batch, to be drawn: what the memory read, what came of it; none by default."""
        return []

    def items(self, batch: Any) -> int:
        """How many items a batch holds, to weigh its loss: by default the length of its first tensor."""
        for _, tensor in named_tensors(batch):
            if tensor.dim():
                return len(tensor)
        raise TypeError(
            f"{type(self).__name__}.items must say how many items a batch holds: it has no tensor"
        )

    def parameter_groups(self) -> Iterable[Any]:
        """Return the parameter groups of the optimizer; all trainable parameters by default."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def shard(self, mesh: Any) -> None:
        """Split the model's parameters among processes; by default as one whole (``fully_shard``).

        A large model overrides this to shard its layers one by one, calling ``shard_module`` on each.
        """
        shard_module(self.model, mesh, self.model_methods)

    # --- what the trainer calls -----------------------------------------------------------------------------

    @final
    def configure_model(self) -> None:
        """Build the model and its metrics once, and shard the model if the strategy has a mesh."""
        if "model" in self._modules:
            return
        # Lightning calls this while the accelerator is the default device, where the data are not. It moves
        # the module there afterwards.
        with torch.device("cpu"):
            self._build(self.data)
        if self.device_mesh is not None:
            self.shard(self.device_mesh["data_parallel"])

    @final
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the training loss of a batch."""
        loss, items = self.training_loss(batch)
        self._check_finite(loss, batch, "train", batch_idx)
        # No sync across processes: that would wait on every step for a figure that is only watched.
        self.log("train/loss", loss.detach(), batch_size=items, on_step=True, on_epoch=False, prog_bar=True)
        return loss

    @final
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Update the metrics with a batch."""
        self._evaluate("val", batch, batch_idx)

    @final
    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Update the metrics with a batch."""
        self._evaluate("test", batch, batch_idx)

    @final
    def predict_step(self, batch: Any, batch_idx: int) -> list[dict[str, Any]]:
        """Return the predictions of a batch."""
        return self.predict(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics."""
        self._summarize("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics."""
        self._summarize("test")

    def configure_optimizers(self) -> Any:
        """Create the optimizer and its schedule; none for a model without trainable parameters."""
        groups = list(self.parameter_groups())
        if not groups:
            return SGD([torch.zeros(())], lr=0.0)
        try:
            optimizer = self.optimizer(groups)
        except (TypeError, ValueError) as error:  # torch checks ranges, of the learning rate for instance
            raise ArgumentError(f"--model.optimizer: {error}") from error
        if self.scheduler is None:
            return optimizer
        try:
            fitted = fit_schedule(self.scheduler, optimizer, self._planned())
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"--model.scheduler: {error}") from error
        self.training_notes = [fitted.note] if fitted.note else []
        plan: dict[str, Any] = {"scheduler": fitted.scheduler, "interval": self.scheduler_interval}
        if isinstance(fitted.scheduler, ReduceLROnPlateau):
            plan["monitor"] = fitted.scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def on_train_start(self) -> None:
        """Note adapted schedules, and raise if a restored schedule does not end with the training."""
        for note in self.training_notes:
            self.print(f"note: {note}")
        for config in self.trainer.lr_scheduler_configs:
            check_resumed(config.scheduler, length_argument(cast(Any, self.scheduler)), self._planned())

    def _planned(self) -> int | None:
        return planned_length(self.trainer, self.scheduler_interval)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run backward, except for a baseline without parameters."""
        if loss.requires_grad or any(parameter.requires_grad for parameter in self.parameters()):
            loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Sign the checkpoint."""
        sign(checkpoint, self, self.data)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise if the checkpoint is of another task or of other sizes."""
        check_task(checkpoint, self)
        self._resumed = self.trainer.state.fn == "fit"
        if "state_dict" in checkpoint:  # a sharded strategy has loaded the weights by itself
            check_fit(checkpoint["state_dict"], self.state_dict())

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Prepare the model in ``on_fit_start``; a resumed training keeps what its checkpoint holds.

        The trainer loads a checkpoint before that hook, and what is prepared would replace trained weights.
        """
        loaded = deepcopy(self.model.state_dict()) if self._resumed else None
        yield
        if loaded is not None:
            self.model.load_state_dict(loaded)

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Any:
        """Not offered: a checkpoint alone does not say what the task was made of.

        Raises:
            NotImplementedError: Always; ``recollect.training.load_run`` takes a run folder instead.
        """
        raise NotImplementedError(
            f"{cls.__name__}.load_from_checkpoint is not offered, for a checkpoint alone does not say what "
            "the task was made of: use recollect.training.load_run(RUN_FOLDER), which gives task and data"
        )

    # --- shared parts ---------------------------------------------------------------------------------------

    def _build(self, data: D) -> None:
        if not isinstance(data, self.data_type):
            task, needed, given = (kind.__name__ for kind in (type(self), self.data_type, type(data)))
            raise ArgumentError(f"{task} needs a {needed} for --data, not {given}")
        try:
            self.model = self.build_model(data)
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise ArgumentError(f"the model cannot be built as configured: {error}") from error
        metrics = self.build_metrics(data)
        self.metrics.update({stage: metrics.clone() for stage in ("val", "test")})

    def _evaluate(self, stage: Stage, batch: Any, batch_idx: int) -> None:
        loss = self.evaluate(batch, self.stage_metrics(stage))
        if loss is not None:
            self._check_finite(loss, batch, stage, batch_idx)
            cast(MeanMetric, self.losses[stage]).update(loss.detach(), self.items(batch))

    def _summarize(self, stage: Stage) -> None:
        metrics, loss = self.stage_metrics(stage), cast(MeanMetric, self.losses[stage])
        values = self.summarize(stage, metrics.compute())
        if loss.update_called:
            values = {**values, "loss": loss.compute()}
        logged = {
            f"{stage}/{name}": torch.as_tensor(value, device=self.device) for name, value in values.items()
        }
        # Metrics have been put together over the processes already; the mean of equal values is that value.
        self.log_dict(logged, prog_bar=len(values) <= 4, sync_dist=True)
        metrics.reset()
        loss.reset()

    def _check_finite(self, loss: Tensor, batch: Any, stage: str, batch_idx: int) -> None:
        place = f"at step {self.global_step}, in batch {batch_idx} of epoch {self.current_epoch}"
        check_finite(loss, batch, f"{stage} loss", place)
