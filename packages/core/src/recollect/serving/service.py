"""A model with a lasting memory that several threads use: what the endpoints call."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from recollect.fingerprint import model_fingerprint
from recollect.integrations.call import first_output
from recollect.integrations.layout import feature_axis_of
from recollect.lasting import Pairs, explain, forget, lasting_layer, pairs_of
from recollect.serving.batcher import Batcher
from recollect.serving.inputs import FieldError
from recollect.serving.reads import Prediction, Read, Tensors, alike, items_of, joined, split

MOST_ROWS = 10_000
"""Rows in a commit at most; a larger write has a commit of its own."""


class Service:
    """Reads and changes a lasting memory from any thread, without waiting: all methods return futures.

    The model runs one call at a time in one thread, and the store changes in another, so that reads go on
    while a commit is on its way to the disk. Reads that wait share a call, and writes that wait a commit.

    Args:
        model: A model with a lasting memory; put in evaluation mode.
        at: Name of the layer, if several have a lasting memory.
        together: Items of several requests that the model gets in one call; 1 for a call per request.

    Raises:
        ValueError: If the model has no lasting memory, or its store holds keys of a model with other weights.
    """

    def __init__(self, model: nn.Module, at: str | None = None, together: int = 32) -> None:
        self.layer, self._integration = lasting_layer(model, at)
        self.memory = self._integration.memory
        self.memory.rows.claim(model_fingerprint(model))
        self._model = model.eval()
        self._device = self.memory.log_temperature.device
        self._together = together
        self._calls, self._changes = ThreadPoolExecutor(1, "model"), ThreadPoolExecutor(1, "store")
        self._reads = Batcher(self._calls, self._read, self._reads_fit)
        self._writes = Batcher(self._changes, _store, _writes_fit)

    def predict(self, inputs: Tensors, explained: bool = False) -> Future[Prediction]:
        """Run the model.

        The future raises ``FieldError`` if the model does not take the inputs, and ``OSError`` if the store
        cannot be read.
        """
        return self._reads.submit(Read(inputs, explained))

    def remember(self, inputs: Tensors, targets: Tensor, source: str | list[str]) -> Future[Tensor]:
        """Write (hidden state → target), and return the numbers of the rows, in the shape of the targets.

        The future raises ``FieldError`` if inputs or targets do not fit, and ``OSError`` if they cannot be
        stored.
        """
        done: Future[Tensor] = Future()
        done.set_running_or_notify_cancel()

        def write() -> None:
            try:
                pairs = self._pairs(inputs, targets, source)
                if len(pairs.keys) == 0:
                    done.set_result(torch.full(pairs.kept.shape, -1))
                else:
                    self._writes.submit(pairs).add_done_callback(lambda stored: _hand_on(stored, pairs, done))
            except Exception as error:
                done.set_exception(error)

        self._calls.submit(write)
        return done

    def forget(self, sources: Sequence[str], purge: bool = True) -> Future[int]:
        """Forget the rows of sources, and return how many there were."""
        return self._changes.submit(lambda: forget(self._model, sources, at=self.layer, purge=purge))

    def sources(self) -> Future[dict[str, int]]:
        """Count the rows of each source."""
        return self._changes.submit(self.memory.rows.sources)

    def close(self) -> None:
        """Finish what was accepted, and end the threads."""
        self._calls.shutdown(wait=True)
        self._changes.shutdown(wait=True)

    # --- in the thread of the model -------------------------------------------------------------------------

    def _reads_fit(self, group: list[Read], read: Read) -> bool:
        items = sum(items_of(each.inputs) for each in group) + items_of(read.inputs)
        return items <= self._together and alike(group[0].inputs, read.inputs)

    def _read(self, group: list[Read]) -> list[Prediction]:
        explained = any(read.explained for read in group)
        return split(self._predict(joined([read.inputs for read in group]), explained), group)

    def _predict(self, inputs: Tensors, explained: bool) -> Prediction:
        outputs: list[Tensor] = []
        layer = self._model.get_submodule(self.layer)
        hook = layer.register_forward_hook(lambda _, __, output: outputs.append(first_output(output)))
        try:
            with torch.no_grad():
                _call(self._model, self._placed(inputs))
        except torch.OutOfMemoryError:
            raise
        except (ValueError, RuntimeError, IndexError, TypeError) as error:
            raise FieldError("inputs", _refused(inputs, error)) from error
        finally:
            hook.remove()
        if len(outputs) != 1 or self._integration.last is None:
            raise FieldError(
                "inputs", f"the model calls {self.layer} {len(outputs)} times for them, not once"
            )
        weight = self._integration.last.weight
        output = self._features_last(outputs[0]).float()
        output = (output if self.memory.classes is None else output.softmax(-1)).flatten(0, -2).cpu()
        if not output.isfinite().all():
            raise FieldError("inputs", "the model's output for them is not finite")
        positions = [tuple(axes) for axes in torch.ones(weight.shape).nonzero().tolist()]
        explanations = explain(self._model, at=self.layer) if explained else []
        return Prediction(positions, output, weight.flatten().cpu(), explanations)

    def _features_last(self, output: Tensor) -> Tensor:
        layout = self._integration.layouts[1]
        return output if layout is None else output.movedim(feature_axis_of(layout), -1)

    def _pairs(self, inputs: Tensors, targets: Tensor, source: str | list[str]) -> Pairs:
        try:
            return pairs_of(self._model, self._placed(inputs), targets, source, at=self.layer)
        except torch.OutOfMemoryError:
            raise
        except (ValueError, RuntimeError, IndexError, TypeError) as error:
            if str(error).startswith("targets"):
                raise FieldError("targets", str(error).removeprefix("targets ")) from error
            raise FieldError("inputs", _refused(inputs, error)) from error

    def _placed(self, inputs: Tensors) -> Tensors:
        if isinstance(inputs, Tensor):
            return inputs.to(self._device)
        return {name: tensor.to(self._device) for name, tensor in inputs.items()}


# --- in the thread of the store -----------------------------------------------------------------------------


def _writes_fit(group: list[Pairs], pairs: Pairs) -> bool:
    rows = sum(len(each.keys) for each in group) + len(pairs.keys)
    return rows <= MOST_ROWS and group[0].targets.dim() == pairs.targets.dim()


def _store(group: list[Pairs]) -> tuple[Tensor, ...]:
    """Store rows in one commit, and return the numbers of each part."""
    sources = [name for part in group for name in _sources(part)]
    keys, targets = torch.cat([part.keys for part in group]), torch.cat([part.targets for part in group])
    rows = group[0].memory.remember(keys, targets, sources)
    return torch.split(rows, [len(part.keys) for part in group])


def _sources(pairs: Pairs) -> list[str]:
    return [pairs.sources] * len(pairs.keys) if isinstance(pairs.sources, str) else pairs.sources


# ------------------------------------------------------------------------------------------------------------


def _call(model: nn.Module, inputs: Tensors) -> Any:
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def _hand_on(stored: Future[Tensor], pairs: Pairs, done: Future[Tensor]) -> None:
    error = stored.exception()
    if error is not None:
        done.set_exception(error)
        return
    rows = torch.full(pairs.kept.shape, -1)
    rows[pairs.kept.cpu()] = stored.result().cpu()
    done.set_result(rows)


def _refused(inputs: Tensors, error: Exception) -> str:
    shapes = (
        tuple(inputs.shape)
        if isinstance(inputs, Tensor)
        else {name: tuple(part.shape) for name, part in inputs.items()}
    )
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return f"the model does not take inputs of shape {shapes}: {reason}"
