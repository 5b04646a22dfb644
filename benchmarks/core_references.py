"""Hand-written references that the core is compared with: what one would write without a library."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MemN2N(nn.Module):
    """An end-to-end memory network with layer-wise tying (Sukhbaatar et al. 2015, sections 2.1 and 2.2).

    Args:
        size: Width D of facts, questions and answers.
        hops: Number of hops.
    """

    def __init__(self, size: int, hops: int) -> None:
        super().__init__()
        self.hops = hops
        self.embed_question, self.embed_key, self.embed_value = (nn.Linear(size, size) for _ in range(3))
        self.between, self.answer = nn.Linear(size, size, bias=False), nn.Linear(size, size)

    def forward(self, facts: Tensor, question: Tensor) -> Tensor:
        """Answer a question ``(B, 1, D)`` from facts ``(B, N, D)``: ``(B, 1, D)``."""
        keys, values = self.embed_key(facts), self.embed_value(facts)
        query = self.embed_question(question)
        for _ in range(self.hops):
            read = torch.softmax(query @ keys.mT, -1) @ values
            query = self.between(query) + read
        return self.answer(query)


class NormedMemN2N(nn.Module):
    """A memory network with the formula of ``recollect.MemoryNetwork``: norms, and maps of each hop's own.

    Args:
        size: Width D of facts, questions and answers.
        hops: Number of hops.
    """

    def __init__(self, size: int, hops: int) -> None:
        super().__init__()
        self.norm_fact, self.norm_question = nn.LayerNorm(size), nn.LayerNorm(size)
        self.embed_key, self.embed_value = nn.Linear(size, size), nn.Linear(size, size)
        self.queries, self.reads = (nn.ModuleList(nn.Linear(size, size) for _ in range(hops)) for _ in "qr")
        self.between = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(hops))
        self.answer = nn.Linear(2 * size, size)

    def forward(self, facts: Tensor, question: Tensor) -> Tensor:
        """Answer a question ``(B, 1, D)`` from facts ``(B, N, D)``: ``(B, 1, D)``."""
        facts = self.norm_fact(facts)
        keys, values = self.embed_key(facts), self.embed_value(facts)
        hidden = self.norm_question(question)
        for query, read, between in zip(self.queries, self.reads, self.between, strict=True):
            scores = query(hidden) @ keys.mT / math.sqrt(keys.shape[-1])
            hidden = between(hidden) + read(scores.softmax(-1) @ values)
        return self.answer(torch.cat([hidden, question], -1))


class AttentionGru(nn.Module):
    """A loop over ``nn.GRUCell`` that attends to the steps up to the present one, or to a source.

    Args:
        size: Width D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2 * size, size)
        self.query, self.key, self.value = (nn.Linear(size, size, bias=False) for _ in range(3))
        self.answer = nn.Linear(2 * size, size, bias=False)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Run T steps ``(B, T, D)``."""
        written = x if source is None else source
        keys, values = self.key(written), self.value(written)
        hidden = context = x.new_zeros(x.shape[0], x.shape[-1])
        outputs = []
        for t in range(x.shape[1]):
            hidden = self.cell(torch.cat([x[:, t], context], -1), hidden)
            seen = slice(0, t + 1) if source is None else slice(None)
            scores = keys[:, seen] @ self.query(hidden).unsqueeze(-1) / math.sqrt(x.shape[-1])
            context = (scores.softmax(1) * values[:, seen]).sum(1)
            outputs.append(self.answer(torch.cat([context, hidden], -1)).tanh())
        return torch.stack(outputs, 1)


def transformer(size: int, layers: int, heads: int = 4) -> nn.TransformerEncoder:
    """A plain encoder without dropout."""
    layer = nn.TransformerEncoderLayer(size, heads, 4 * size, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def trained(model: nn.Module, forward: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """A call that runs ``forward`` on the inputs and takes the gradients of the model's parameters."""

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        forward(*inputs).square().mean().backward()

    return step


def attention(query: Tensor, keys: Tensor, values: Tensor, causal: bool = False) -> Tensor:
    """PyTorch's fused attention."""
    return F.scaled_dot_product_attention(query, keys, values, is_causal=causal)
