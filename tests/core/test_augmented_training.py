"""What augment adds learns in an ordinary training loop, in carry, and under DistributedDataParallel."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from recollect import (
    Concatenation,
    Fusion,
    MemoryNetwork,
    Parallel,
    PrototypeMemory,
    RelationalMemory,
    Seq2SeqMemory,
    VectorStorage,
    augment,
    carry,
    memories_of,
    memory_parameters,
)

D = 8
README = Path(__file__).parents[2] / "packages" / "core" / "README.md"


def storage(width):
    return VectorStorage(width, width, slots=6)


MEMORIES = {
    "network": lambda d: MemoryNetwork(d, storage(d), write_on_forward=True),
    "network gru": lambda d: MemoryNetwork(d, storage(d), controller="gru", write_on_forward=True),
    "seq2seq": lambda d: Seq2SeqMemory(d, storage(d), write_on_forward=True),
    "relational": lambda d: RelationalMemory(d, storage(d), rounds=2, heads=2, write_on_forward=True),
    "prototypes": lambda d: PrototypeMemory(d, storage(d), prototypes=6, write_on_forward=True),
}
INTEGRATIONS = {
    "default": None,
    "concat": partial(Concatenation, mode="concat"),
    "parallel": Parallel,
    "fusion": Fusion,
}


def tagger(memory, integration=None, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, D), nn.GRU(D, D, batch_first=True))
    given = {} if integration is None else {"integration": integration}
    return augment(model, "0", memory, example=torch.randn(2, 5, D), **given, **options)


def added(model):
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and any(parameter is p for p in memory_parameters(model))
    }


def unmoved(model, loop, steps=4):
    """The added parameters that four steps of Adam leave as they were."""
    before = {name: parameter.detach().clone() for name, parameter in added(model).items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loop(model).backward()
        optimizer.step()
    return [name for name, parameter in added(model).items() if torch.equal(parameter, before[name])]


def one_call(model):
    x = torch.randn(4, 5, D)
    return (model(x)[0] - x.cumsum(1)).square().mean()


def two_calls(model):
    with carry(model):
        return one_call(model) + one_call(model)


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("name", ["default", "concat", "parallel"])
def test_all_that_is_added_learns_in_an_ordinary_loop(name, memory):
    model = tagger(memory, INTEGRATIONS[name])
    assert added(model)
    assert not unmoved(model, one_call)


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
def test_all_that_fusion_adds_learns_in_carry(memory):
    model = tagger(memory, Fusion)
    assert not unmoved(model, two_calls)


def test_what_the_readme_gives_a_memory_learns_in_an_ordinary_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {}
    exec(block[: block.index("with carry(model)")], names)
    model = names["model"].train()
    loss = nn.functional.cross_entropy
    assert not unmoved(model, lambda model: loss(model(torch.randn(2, 3, 64, 64)), torch.tensor([0, 1])))


@pytest.mark.parametrize("name", ["network gru", "seq2seq"])
def test_fusion_makes_nothing_that_it_cannot_reach(name):
    model = tagger(MEMORIES[name], Fusion)
    memory = memories_of(model)["0"]
    unused = [n for n, _ in MEMORIES[name](D).named_parameters() if n.startswith(memory.forward_only)]
    assert unused
    assert not {n for n, _ in memory.named_parameters()} & set(unused)
    with pytest.raises((RuntimeError, AttributeError), match="Fusion reads and writes its memory only"):
        memory(torch.randn(1, 2, D))
    assert MEMORIES[name](D)(torch.randn(1, 2, D))[0].shape == (1, 2, D)


def test_fusion_outside_carry_warns_once():
    model = tagger(MEMORIES["network"], Fusion)
    with carry(model):
        model(torch.randn(2, 5, D))
    with pytest.warns(UserWarning, match=r"0: Fusion reads .* outside recollect\.carry"):
        model(torch.randn(2, 5, D))
    model(torch.randn(2, 5, D))
    tagger(MEMORIES["prototypes"], Fusion)(torch.randn(2, 5, D))  # it has something to read


def test_stepwise_fusion_learns_in_an_ordinary_loop():
    model = tagger(MEMORIES["network"], partial(Fusion, stepwise=True))
    assert not unmoved(model, one_call)


def test_fusion_in_a_layer_that_runs_several_times_does_not_warn():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(D, D)

        def forward(self, x):
            hidden = x.new_zeros(x.shape[0], D)
            for step in x.unbind(1):
                hidden = self.cell(step, hidden)
            return hidden

    model = augment(Loop(), "cell", MEMORIES["network"], Fusion, example=torch.randn(2, 3, D))
    assert model(torch.randn(2, 3, D)).shape == (2, D)


@pytest.fixture
def process_group(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*outside recollect.carry:UserWarning")
@pytest.mark.parametrize("memory", ["network", "reading"])
@pytest.mark.parametrize("name", INTEGRATIONS)
@pytest.mark.usefixtures("process_group")
def test_distributed_training_needs_no_flags(name, memory):
    """DistributedDataParallel raises in the second step if a parameter has no part in the first."""
    makers = {**MEMORIES, "reading": lambda d: MemoryNetwork(d, storage(d))}
    model = DistributedDataParallel(tagger(makers[memory], INTEGRATIONS[name]))
    for loop in (one_call, one_call, two_calls, two_calls):
        loop(model).backward()
    alone = tagger(makers[memory], INTEGRATIONS[name])
    for loop in (one_call, one_call, two_calls, two_calls):
        loop(alone).backward()
    assert len(list(model.parameters())) == len(list(alone.parameters()))
