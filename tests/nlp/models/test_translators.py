"""Translators: incremental decoding, padding, states and memories."""

import pytest
import torch

from recollect import Concatenation, Fusion, MemoryNetwork, Parallel, Seq2SeqMemory, VectorStorage
from recollect.state import map_state
from recollect_nlp.models.recurrent_translator import RecurrentTranslator
from recollect_nlp.models.transformer_translator import TransformerTranslator

SOURCE = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0], [6, 3, 0, 0, 0]])
TARGET = torch.tensor([[2, 7, 8, 9], [2, 5, 5, 6], [2, 4, 8, 7]])


def recurrent(cell="gru"):
    memory = Seq2SeqMemory(8, VectorStorage(8, 8, slots=7, similarity="dot"), cell)
    model = without_memory()
    model.add_memory(memory)
    return model


def without_memory():
    return RecurrentTranslator(12, model_size=8)


def transformer():
    return TransformerTranslator(12, 8, 16, encoder_layers=1, decoder_layers=2, heads=2)


def with_memory(integration):
    memory = MemoryNetwork(8, VectorStorage(8, 8, slots=3), write_on_forward=integration is not stepwise)
    model = transformer()
    model.add_memory(memory, integration, at=0)
    with torch.no_grad():  # let the memory in: at initialisation the weight that does so is zero
        for name, parameter in model.decoder[0].feed_forward.named_parameters():
            if not name.startswith(("layer", "memory")):
                parameter.normal_()
    return model


def stepwise(layer, memory):
    return Fusion(layer, memory, stepwise=True)


MODELS = {
    "gru": recurrent,
    "lstm": lambda: recurrent("lstm"),
    "without memory": without_memory,
    "transformer": transformer,
    "concatenation": lambda: with_memory(Concatenation),
    "parallel": lambda: with_memory(Parallel),
    "fusion": lambda: with_memory(stepwise),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def test_decoding_step_by_step_equals_decoding_at_once(model):
    whole, _ = model.decode(model.encode(SOURCE), TARGET)
    state, steps = model.encode(SOURCE), []
    for piece in TARGET.split(1, 1):
        step, state = model.decode(state, piece)
        steps.append(step)
    torch.testing.assert_close(torch.cat(steps, 1), whole)


def test_decoding_is_causal(model):
    other = TARGET.clone()
    other[:, 2:] = 11
    before, after = (model(SOURCE, target)[:, :2] for target in (TARGET, other))
    torch.testing.assert_close(before, after)


def test_padding_and_other_batch_items_have_no_influence(model):
    alone = model(SOURCE[1:2, :3], TARGET[1:2])
    torch.testing.assert_close(model(SOURCE, TARGET)[1:2], alone)


def test_select_reorders_the_state(model):
    _, state = model.decode(model.encode(SOURCE), TARGET[:, :2])
    order = torch.tensor([2, 0, 0])
    chosen, _ = model.decode(model.select(state, order), TARGET[order, 2:])
    direct, _ = model.decode(state, TARGET[:, 2:])
    torch.testing.assert_close(chosen, direct[order])


def test_decode_does_not_change_its_input_state(model):
    _, state = model.decode(model.encode(SOURCE), TARGET[:, :2])
    before = map_state(torch.clone, state)
    model.decode(state, TARGET[:, 2:])
    map_state(lambda a, b: torch.testing.assert_close(a, b) or a, before, state)


def test_gradients_reach_every_parameter(model):
    model(SOURCE, TARGET).logsumexp(-1).sum().backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("make", [recurrent, transformer])
def test_alignment_sums_to_one_over_the_source_pieces(make):
    model = make().eval()
    weights = model.alignment(SOURCE, TARGET)
    assert weights.shape == (3, 4, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
    assert (weights[SOURCE.eq(0).unsqueeze(1).expand_as(weights)] < 1e-6).all()


def test_without_memory_there_is_no_alignment():
    assert without_memory().alignment(SOURCE, TARGET) is None


def test_without_memory_the_state_is_one_vector_per_sentence():
    model = without_memory().eval()
    state = model.encode(SOURCE)
    assert state.decoder[0].shape == (3, 8)


def test_a_memory_leaves_the_function_unchanged_at_initialisation():
    torch.manual_seed(0)
    plain = transformer().eval()
    memory = MemoryNetwork(8, VectorStorage(8, 8, slots=4), write_on_forward=True)
    model = transformer().eval()
    model.add_memory(memory.eval())
    names = {name.replace("feed_forward.layer.", "feed_forward."): name for name in model.state_dict()}
    model.load_state_dict({names[key]: value for key, value in plain.state_dict().items()}, strict=False)
    assert torch.equal(model(SOURCE, TARGET), plain(SOURCE, TARGET))


def test_a_sentence_longer_than_the_slots_is_an_error():
    with pytest.raises(ValueError, match="9 pieces, but the memory holds 7"):
        recurrent().encode(torch.full((1, 9), 5))


def test_inconsistent_sizes_are_errors():
    network = MemoryNetwork(8, VectorStorage(8, 8, slots=4))
    with pytest.raises(ValueError, match="memory has width 8, the model has 6"):
        RecurrentTranslator(12, model_size=6).add_memory(Seq2SeqMemory(8, VectorStorage(8, 8, slots=7)))
    with pytest.raises(ValueError, match="must be a Seq2SeqMemory, not a MemoryNetwork"):
        without_memory().add_memory(network)
    with pytest.raises(ValueError, match="divisible by heads"):
        TransformerTranslator(12, 9, 16)
    with pytest.raises(ValueError, match="no decoder layer 2"):
        transformer().add_memory(network, at=2)
    with pytest.raises(ValueError, match="stepwise=True"):
        transformer().add_memory(network, Fusion)
    with pytest.raises(ValueError, match="vocabulary_size"):
        RecurrentTranslator(0)
