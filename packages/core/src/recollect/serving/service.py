"""A model with a lasting memory that several threads use: what the endpoints call."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recollect.fingerprint import model_fingerprint
from recollect.integrations.call import first_output
from recollect.integrations.layout import feature_axis_of
from recollect.lasting import Explanation, Pairs, explain, forget, lasting_layer, pairs_of
from recollect.serving.group_commit import GroupCommit
from recollect.serving.inputs import FieldError

Tensors = Tensor | dict[str, Tensor]


class Prediction(NamedTuple):
    """What the layer with the memory returned for the n outputs of a call.

    Attributes:
        positions: Index of each output: ``(item,)`` or ``(item, step)``.
        output: ``(n, C)`` probabilities of classes, or ``(n, V)`` values.
        weight: ``(n,)``, λ of each.
        explanations: What each has read, if that was asked for.
    """

    positions: list[tuple[int, ...]]
    output: Tensor
    weight: Tensor
    explanations: list[Explanation]


class Service:
    """Reads and changes a lasting memory from any thread, without waiting: all methods return futures.

    The model runs one call at a time in one thread, and the store changes in another, so that reads go on
    while a commit is on its way to the disk.

    Args:
        model: A model with a lasting memory; put in evaluation mode.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ValueError: If the model has no lasting memory, or its store holds keys of a model with other weights.
    """

    def __init__(self, model: nn.Module, at: str | None = None) -> None:
        self.layer, self._integration = lasting_layer(model, at)
        self.memory = self._integration.memory
        self.memory.rows.claim(model_fingerprint(model))
        self._model = model.eval()
        self._device = self.memory.log_temperature.device
        self._calls = ThreadPoolExecutor(1, "model")
        self._writes = GroupCommit()

    def predict(self, inputs: Tensors, explained: bool = False) -> Future[Prediction]:
        """Run the model.

        The future raises ``FieldError`` if the model does not take the inputs, and ``OSError`` if the store
        cannot be read.
        """
        return self._calls.submit(self._predict, inputs, explained)

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
                    self._writes.add(pairs).add_done_callback(lambda stored: _hand_on(stored, pairs, done))
            except Exception as error:
                done.set_exception(error)

        self._calls.submit(write)
        return done

    def forget(self, sources: Sequence[str], purge: bool = True) -> Future[int]:
        """Forget the rows of sources, and return how many there were."""
        return self._writes.submit(lambda: forget(self._model, sources, at=self.layer, purge=purge))

    def sources(self) -> Future[dict[str, int]]:
        """Count the rows of each source."""
        return self._writes.submit(self.memory.rows.sources)

    def close(self) -> None:
        """Finish what was accepted, and end the threads."""
        self._calls.shutdown(wait=True)
        self._writes.close()

    # --- in the thread of the model -------------------------------------------------------------------------

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
