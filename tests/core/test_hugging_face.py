"""Models of Hugging Face with memories: outputs, masks, generation, saved models, adapters."""

import copy
from functools import partial

import pytest
import torch

from recollect import (
    Concatenation,
    Fusion,
    MemoryNetwork,
    Parallel,
    Seq2SeqMemory,
    VectorStorage,
    augment,
    carry,
    load_memory_state_dict,
    memories_of,
    memory_parameters,
    memory_state_dict,
    remove_memory,
    without_memory,
)
from recollect.memory_forward import augmented_layers, memory_forward

transformers = pytest.importorskip("transformers")

D, WORDS, B, T = 8, 50, 2, 6
TOKENS = torch.randint(4, WORDS, (B, T), generator=torch.Generator().manual_seed(0))
ENDLESS = {"eos_token_id": None, "pad_token_id": 0, "do_sample": False}


def gpt2():
    config = transformers.GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=D, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def llama():
    config = transformers.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=D,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    return transformers.LlamaForCausalLM(config)


def bert():
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    return transformers.BertModel(config)


def t5():
    config = transformers.T5Config(
        vocab_size=WORDS,
        d_model=D,
        d_kv=4,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        dropout_rate=0.0,
    )
    return transformers.T5ForConditionalGeneration(config)


GENERATING = {
    "gpt2, block": (gpt2, "transformer.h.0"),
    "gpt2, mlp": (gpt2, "transformer.h.*.mlp"),
    "gpt2, attention": (gpt2, "transformer.h.1.attn"),
    "llama, block": (llama, "model.layers.1"),
    "llama, norm": (llama, "model.layers.0.input_layernorm"),
    "llama, attention": (llama, "model.layers.*.self_attn"),
    "t5, decoder": (t5, "decoder.block.0"),
    "t5, feed-forward": (t5, "decoder.block.*.layer.2"),
    "t5, encoder": (t5, "encoder.block.1.layer.1"),
}
OTHERS = {
    "bert, layer": (bert, "encoder.layer.0"),
    "bert, attention": (bert, "encoder.layer.*.attention"),
    "bert, embeddings": (bert, "embeddings.LayerNorm"),
    "bert, encoder": (bert, "encoder"),
    "gpt2, the whole": (gpt2, "transformer"),
}


def make_memory(width):
    return MemoryNetwork(width, VectorStorage(width, width, slots=40), hops=1, write_on_forward=True)


def recurrent_memory(width):
    return Seq2SeqMemory(width, VectorStorage(width, width, slots=40), write_on_forward=True)


def example(model):
    inputs = {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = TOKENS.flip(0)[:, :4]
    return inputs


def augmented(make, at, memory=make_memory, integration=Concatenation):
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from the fixed points that small weights generate
            if parameter.dim() > 1:
                parameter.normal_(std=0.7)
    return opened(augment(model, at, memory, integration, example=example(model)))


def opened(model):
    with torch.no_grad():
        for layer in augmented_layers(model).values():
            integration = memory_forward(layer).integration
            for name, parameter in integration.named_parameters():
                if name.startswith(("out_proj", "gate")):
                    parameter.normal_()
    return model


def first(output):
    return output[0] if not torch.is_tensor(output[0]) or output[0].dim() else output[1]


@pytest.mark.parametrize("integration", [Concatenation, Parallel])
@pytest.mark.parametrize("name", {**GENERATING, **OTHERS})
def test_layouts_are_found_and_items_kept_apart(name, integration):
    make, at = {**GENERATING, **OTHERS}[name]
    if name == "gpt2, the whole" and integration is Parallel:
        return  # it takes indices
    model = augmented(make, at, integration=integration)
    for layer in augmented_layers(model).values():
        assert memory_forward(layer).integration.layouts[1] == "btd"
    inputs = example(model)
    others = {key: value.clone() for key, value in inputs.items()}
    others["input_ids"][0] = (others["input_ids"][0] + 1) % WORDS
    with torch.no_grad():
        output, other = first(model(**inputs)), first(model(**others))
        with without_memory(model):
            plain = first(model(**inputs))
    assert not torch.allclose(output, plain)
    assert type(model(**inputs)) is type(make()(**inputs))
    assert not torch.allclose(output[0], other[0])
    assert torch.equal(output[1], other[1])


@pytest.mark.parametrize("integration", [Concatenation, Parallel])
@pytest.mark.parametrize("name", {**GENERATING, **OTHERS})
def test_padding_is_kept_from_the_memory(name, integration):
    make, at = {**GENERATING, **OTHERS}[name]
    if name == "gpt2, the whole" and integration is Parallel:
        return
    model = augmented(make, at, integration=integration)
    inputs = example(model)
    padded = {key: value.clone() for key, value in inputs.items()}
    decoder = "decoder" in at
    padded["input_ids"] = torch.cat([inputs["input_ids"], torch.full((B, 2), 3)], 1)
    padded["attention_mask"] = torch.cat([inputs["attention_mask"], torch.zeros(B, 2, dtype=torch.int64)], 1)
    with torch.no_grad(), carry(model) as session:
        model(**padded)
        expected = {name: memory_of_written(state) for name, state in session.state.items()}
        again = first(model(**inputs))
    with torch.no_grad(), carry(model) as session:
        model(**inputs)
        assert expected == {name: memory_of_written(state) for name, state in session.state.items()}
        torch.testing.assert_close(first(model(**inputs)), again)
    assert expected == dict.fromkeys(expected, [4 if decoder else T] * B)


def memory_of_written(state):
    return state.written.tolist()


CACHED = [(name, Concatenation, make_memory) for name in GENERATING] + [
    ("gpt2, block", Parallel, make_memory),
    ("gpt2, block", Concatenation, recurrent_memory),
    ("t5, decoder", Parallel, recurrent_memory),
]


@pytest.mark.parametrize(("name", "integration", "memory"), CACHED)
def test_generation_with_a_cache_is_generation_without(name, integration, memory):
    model = augmented(*GENERATING[name], memory, integration)
    mask = torch.ones_like(TOKENS)
    if not model.config.is_encoder_decoder:
        mask[0, :2] = 0  # padding on the left
    for beams in (1, 3):
        generate = partial(
            model.generate, TOKENS, attention_mask=mask, max_new_tokens=8, num_beams=beams, **ENDLESS
        )
        whole, cached = generate(use_cache=False), generate(use_cache=True)
        assert torch.equal(whole, cached)
        assert whole.shape == (B, 9 if model.config.is_encoder_decoder else T + 8)
    logits = partial(
        generate, max_new_tokens=1, num_beams=1, return_dict_in_generate=True, output_logits=True
    )
    with without_memory(model):
        plain = logits().logits[0]
    assert not torch.allclose(logits().logits[0], plain)


def test_beams_take_their_memories_along():
    """The scores of a sequence that beam search has found are those of the sequence by itself."""
    model = augmented(gpt2, "transformer.h.*")
    found = model.generate(
        TOKENS,
        attention_mask=torch.ones_like(TOKENS),
        max_new_tokens=8,
        num_beams=4,
        num_return_sequences=4,
        length_penalty=0.0,
        output_scores=True,
        return_dict_in_generate=True,
        **ENDLESS,
    )
    with torch.no_grad():
        logits = model(found.sequences).logits.log_softmax(-1)
    chosen = logits[:, T - 1 : -1].gather(-1, found.sequences[:, T:, None]).squeeze(-1)
    torch.testing.assert_close(found.sequences_scores, chosen.sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("integration", [Concatenation, Fusion])
def test_generation_goes_on_from_a_session(integration):
    model = augmented(gpt2, "transformer.h.0", integration=integration)

    def generate():
        found = model.generate(
            TOKENS,
            attention_mask=torch.ones_like(TOKENS),
            max_new_tokens=6,
            return_dict_in_generate=True,
            output_logits=True,
            **ENDLESS,
        )
        return torch.stack(found.logits)

    fresh = generate()
    with torch.no_grad(), carry(model) as session:
        model(TOKENS.flip(1))
        state = session.state
        knowing = generate()
        assert session.state["transformer.h.0"].written.tolist() == [T + T + 5] * B
    assert not torch.equal(knowing, fresh)
    assert torch.equal(generate(), fresh)
    with carry(model, state):
        assert torch.equal(generate(), knowing)


def test_a_sessions_mask_grows_with_the_sequence():
    model = augmented(gpt2, "transformer.h.0")
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[0, :2] = False
    generate = partial(
        model.generate, TOKENS, attention_mask=torch.ones_like(TOKENS), max_new_tokens=5, **ENDLESS
    )
    with carry(model, mask=mask) as session:
        generate()
    assert session.state["transformer.h.0"].written.tolist() == [T + 2, T + 4]
    with torch.no_grad(), carry(model, mask=mask) as session:
        model(torch.cat([TOKENS, TOKENS], 1))
    assert session.state["transformer.h.0"].written.tolist() == [2 * T - 2, 2 * T]


def test_a_loop_by_hand_goes_on_from_the_cache_and_copies_of_it():
    model = augmented(llama, "model.layers.0")
    with torch.no_grad():
        whole = model(TOKENS).logits
        output = model(TOKENS[:, :3], use_cache=True)
        cache = next(value for value in output.values() if hasattr(value, "reorder_cache"))
        name = next(key for key, value in output.items() if value is cache)
        again = copy.deepcopy(cache)
        for kept in (cache, again):
            parts = [model(TOKENS[:, t : t + 1], **{name: kept}).logits for t in range(3, T)]
            torch.testing.assert_close(torch.cat([output.logits, *parts], 1), whole)
        with pytest.raises(NotImplementedError, match="cannot take back"):
            cache.crop(2)


def test_gradients_reach_all_that_is_added():
    model = augmented(gpt2, "transformer.h.*.mlp").train()
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in memory_parameters(model) if p.requires_grad)


@pytest.mark.parametrize("make", [gpt2, llama, bert, t5])
def test_a_saved_model_has_its_weights(make, tmp_path):
    at = {gpt2: "transformer.h.0", llama: "model.layers.0", bert: "encoder.layer.0", t5: "decoder.block.0"}[
        make
    ]
    model = augmented(make, at)
    model.save_pretrained(tmp_path)
    torch.save(memory_state_dict(model), tmp_path / "memory.pt")
    loaded = type(model).from_pretrained(tmp_path).eval()
    inputs = example(model)
    with torch.no_grad(), without_memory(model):
        expected = first(model(**inputs))
    with torch.no_grad():
        assert torch.equal(first(loaded(**inputs)), expected)
        augment(loaded, at, make_memory, example=inputs)
        load_memory_state_dict(loaded, torch.load(tmp_path / "memory.pt", weights_only=True))
        assert torch.equal(first(loaded(**inputs)), first(model(**inputs)))
        remove_memory(loaded)
        assert torch.equal(first(loaded(**inputs)), expected)


def test_embeddings_are_tied_and_resized():
    model = augmented(gpt2, ["transformer.wte", "lm_head"])
    assert model.lm_head.weight is model.transformer.wte.weight
    with torch.no_grad():
        before = model(TOKENS).logits
    model.resize_token_embeddings(WORDS + 4)
    assert model.lm_head.weight is model.transformer.wte.weight
    assert model.transformer.wte.weight.shape == (WORDS + 4, D)
    assert before.shape == (B, T, WORDS)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("order", ["memory first", "adapter first"])
def test_adapters_of_peft(order):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True)
    at = ["transformer.h.0", "transformer.h.1.attn.c_attn"]
    torch.manual_seed(0)
    if order == "memory first":
        model = peft.get_peft_model(augmented(gpt2, at), config).eval()
        for parameter in memory_parameters(model):
            parameter.requires_grad_(parameter.is_floating_point())
    else:
        model = peft.get_peft_model(gpt2(), config).eval()
        at = [f"base_model.model.{name}" for name in at]
        opened(augment(model, at, make_memory, example={"input_ids": TOKENS}))
    assert len(memories_of(model)) == 2
    generate = partial(
        model.generate, input_ids=TOKENS, attention_mask=torch.ones_like(TOKENS), max_new_tokens=8, **ENDLESS
    )
    assert torch.equal(generate(use_cache=False), generate(use_cache=True))
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert any(p.grad is not None and p.grad.any() for n, p in model.named_parameters() if "lora" in n)
    assert any(p.grad is not None and p.grad.any() for p in memory_parameters(model))
    with torch.no_grad():
        adapted = model(input_ids=TOKENS).logits
        with without_memory(model):
            plain = model(input_ids=TOKENS).logits
        remove_memory(model)
        assert torch.equal(model(input_ids=TOKENS).logits, plain)
    assert not torch.allclose(adapted, plain)
    assert not memories_of(model)
