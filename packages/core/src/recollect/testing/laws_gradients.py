"""Laws 9 and 10: gradients, and compilation."""

from typing import Any

import torch
from torch import Tensor

from recollect.testing.compare import assert_close, gradients
from recollect.testing.trial import Trial


def check_gradients(trial: Trial, steps: int = 1000) -> None:
    """Law 9: gradients reach every argument, and stay finite over many steps and in bfloat16 autocast.

    Args:
        trial: The trial.
        steps: Length of the long sequence.
    """
    storage = trial.storage
    for length, autocast in ((trial.steps, False), (trial.steps, True), (steps, False)):
        sequence = trial.sequence(max(length, 3)).requiring_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output, state = storage.scan(trial.empty(), *sequence)
        where = f"over {length} steps" + (" in bfloat16 autocast" if autocast else "")
        assert bool(output.isfinite().all()), f"a read {where} is not finite"
        found = gradients(trial, output, state, sequence)
        for name, gradient in found.items():
            assert bool(gradient.isfinite().all()), f"the gradient in {name} {where} is not finite"
            reached = bool(gradient.ne(0).any()) or gradient.numel() == 0
            assert reached or name in trial.non_differentiable, f"no gradient reaches {name} {where}"


def check_compiles(trial: Trial, backend: str = "eager") -> None:
    """Law 10: ``torch.compile(fullgraph=True)`` takes one step of erase → write → read.

    Args:
        trial: The trial.
        backend: Backend of ``torch.compile``; ``"inductor"`` is slow and needs a C++ compiler.
    """
    storage, steps = trial.storage, trial.sequence(1)

    def step(state: Any, query: Tensor, key: Tensor, value: Tensor, strength: Tensor) -> tuple[Tensor, Any]:
        state = storage.erase(state, key, strength)
        state = storage.write(state, key, value, strength)
        return storage.read(state, query).value, state

    arguments = (trial.written_state(), *steps[:4])
    torch.compiler.reset()
    compiled = torch.compile(step, fullgraph=True, backend=backend, dynamic=False)
    with torch.no_grad():
        expected, found = step(*arguments), compiled(*arguments)
    assert_close(found[0], expected[0], "a compiled step")
    assert type(found[1]) is type(expected[1]), "a compiled step returns the same kind of state"
