"""A lasting memory in a model of Hugging Face: text is remembered and generated again."""

from functools import partial

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from recollect import Interpolation, NeighborMemory, VectorStorage, augment, provenance, remember

D, TOKENS = 16, 50

GATES = {
    "fixed": {"gate": 0.8},
    "earlier part": {"gate": 0.8, "query_at": "transformer.h.1.mlp"},
    "running": {"gate": "running", "previous_at": "transformer.wte"},
}


@pytest.mark.parametrize("options", GATES.values(), ids=GATES)
def test_text_is_remembered_and_generated(options):
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=2, n_head=2, n_embd=D, vocab_size=TOKENS, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    model = GPT2LMHeadModel(config).eval()
    memory = NeighborMemory(D, VectorStorage(D, 1, slots=100), classes=TOKENS, k=4, temperature=0.1)
    augment(model, at="lm_head", memory=memory, integration=partial(Interpolation, **options))
    tokens = torch.randint(3, TOKENS, (3, 20))
    targets = torch.cat([tokens[:, 1:], torch.full((3, 1), -100)], 1)
    remember(model, {"input_ids": tokens}, targets, source=["a", "b", "c"])
    assert provenance(model) == {"lm_head": {"a": 19, "b": 19, "c": 19}}
    prompt = {"input_ids": tokens[:, :5], "attention_mask": torch.ones(3, 5, dtype=torch.int64)}
    for search in ({}, {"num_beams": 3}):
        cached, whole = (
            model.generate(
                **prompt, max_new_tokens=10, do_sample=False, pad_token_id=0, use_cache=use, **search
            )
            for use in (True, False)
        )
        assert torch.equal(cached, whole)
        assert torch.equal(cached, tokens[:, :15])
