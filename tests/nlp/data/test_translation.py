"""Parallel text: files, tokenizer, batches and malformed input."""

import gzip
import io
import sys

import pytest
import torch

from recollect.training.errors import ArgumentError, DataError
from recollect_nlp.data.parallel_text import read_lines, read_pairs
from recollect_nlp.data.subword_tokenizer import SubwordTokenizer
from recollect_nlp.data.translation import TranslationData, batches_by_pieces
from recollect_nlp.types import BOS, EOS, PAD, UNK


@pytest.fixture
def corpus(tmp_path):
    words = ["dog", "cat", "bird", "runs", "sleeps", "sings", "here", "there"]
    sources = [" ".join(words[(i * k) % 8] for k in range(1, 2 + i % 7)) for i in range(60)]
    (tmp_path / "x").write_text("".join(f"{line}\n" for line in sources))
    (tmp_path / "y").write_text("".join(f"{line.upper()}\n" for line in sources))
    return tmp_path


def data_of(folder, **settings):
    return TranslationData(folder / "x", folder / "y", vocabulary_size=60, batch_pieces=64, **settings)


def test_pairs_are_in_order_without_line_ends_and_byte_order_marks(tmp_path):
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    (tmp_path / "y").write_bytes(gzip.compress(b"eins\nzwei"))
    (tmp_path / "y").rename(tmp_path / "y.gz")
    assert read_pairs(tmp_path / "x", tmp_path / "y.gz") == [("one", "eins"), ("two", "zwei")]


def test_unicode_line_separators_do_not_end_a_line(tmp_path):
    (tmp_path / "x").write_text("one\u2028still one\x0cand more\ntwo\n")
    assert len(read_lines(tmp_path / "x")) == 2


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_an_empty_file_is_an_error(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=r"x is empty"):
        read_lines(tmp_path / "x")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_any_system_are_read(tmp_path, end):
    (tmp_path / "x").write_bytes(b"a dog" + end + b"a cat" + end)
    assert read_lines(tmp_path / "x") == ["a dog", "a cat"]


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*nowhere"):
        read_lines(tmp_path / "nowhere")


def test_a_wrong_encoding_is_an_error_with_its_line(tmp_path):
    (tmp_path / "x").write_bytes("gut\nschön\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"x, line 2: not UTF-8 .*byte 8"):
        read_lines(tmp_path / "x")


def test_a_truncated_gzip_file_is_an_error(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"some text\n" * 50)[:-9])
    with pytest.raises(DataError, match=r"x\.gz is not a whole gzip file"):
        read_lines(tmp_path / "x.gz")


@pytest.mark.parametrize(("longer", "shorter"), [("x", "y"), ("y", "x")])
def test_a_line_without_a_translation_is_an_error(tmp_path, longer, shorter):
    (tmp_path / longer).write_text("a\nb\nc\nd\n")
    (tmp_path / shorter).write_text("a\nb\n")
    with pytest.raises(DataError, match=rf"{longer}, line 3: .*no matching line.*{shorter} has 2"):
        read_pairs(tmp_path / "x", tmp_path / "y")


@pytest.mark.parametrize("side", ["x", "y"])
def test_a_blank_line_is_an_error(tmp_path, side):
    (tmp_path / "x").write_text("a\nb\nc\n")
    (tmp_path / "y").write_text("a\nb\nc\n")
    (tmp_path / side).write_text("a\n \nc\n")
    with pytest.raises(DataError, match=rf"{side}, line 2: blank.*needs a match"):
        read_pairs(tmp_path / "x", tmp_path / "y")


def test_pieces_are_in_the_order_of_ids_with_unknown_characters():
    subwords = SubwordTokenizer(SubwordTokenizer.fit(["a dog runs", "a cat sleeps"] * 3, size=40))
    assert subwords.decode(subwords.encode("a cat runs")) == "a cat runs"
    pieces = subwords.encode("a dog ☃ runs")
    assert UNK in pieces
    assert len(pieces) == len(subwords.pieces("a dog ☃ runs"))
    assert subwords.pieces("a dog ☃ runs")[pieces.index(UNK)] == "☃"
    assert subwords.decode([BOS, *subwords.encode("a dog"), PAD, *subwords.encode("a cat")]) == "a dog"


def test_fitting_is_deterministic(corpus):
    lines = read_lines(corpus / "x")
    assert torch.equal(SubwordTokenizer.fit(lines, 30), SubwordTokenizer.fit(lines, 30))


def test_a_vocabulary_smaller_than_the_characters_is_an_error():
    with pytest.raises(DataError, match="vocabulary of 8 pieces"):
        SubwordTokenizer.fit(["a dog runs quickly over the hill"], size=8)


def test_other_bytes_are_not_a_model():
    with pytest.raises(ValueError, match="not a sentencepiece model"):
        SubwordTokenizer(torch.arange(20, dtype=torch.uint8))


def test_the_tokenizer_is_fitted_to_the_training_files(corpus):
    (corpus / "other").write_text("zyxwvut\n")
    with_test = data_of(corpus, test_source=corpus / "other", test_target=corpus / "other")
    assert torch.equal(with_test.fitted["tokenizer"], data_of(corpus).fitted["tokenizer"])
    assert UNK in with_test.dataset("test")[0].source


def test_prediction_needs_no_training_files(corpus):
    state = data_of(corpus).state_dict()
    data = TranslationData(path=corpus / "x")
    data.load_state_dict(state)
    assert data.dataset("predict")[3].source_text == read_lines(corpus / "x")[3]
    assert len(data.tokenizer) == len(data_of(corpus).tokenizer)


def test_every_pair_is_in_one_batch_of_limited_size(corpus):
    data = data_of(corpus)
    dataset = data.dataset("train")
    for epoch in (0, 1):
        batches = data.batches("train", dataset, epoch)
        assert sorted(i for batch in batches for i in batch) == list(range(60))
        for batch in batches:
            made = data.collate([dataset[i] for i in batch])
            assert max(made.source.numel(), made.target.numel()) <= 64
    assert data.batches("train", dataset, 0) != data.batches("train", dataset, 1)
    assert data.batches("train", dataset, 1) == data.batches("train", dataset, 1)


def test_a_pair_longer_than_the_limit_is_a_batch_by_itself():
    assert batches_by_pieces([0, 1, 2], [(2, 2), (99, 3), (2, 2)], max_pieces=10) == [[0], [1], [2]]


def test_prediction_keeps_the_order_of_the_file(corpus):
    data = data_of(corpus, path=corpus / "x")
    batches = data.batches("predict", data.dataset("predict"), 0)
    assert [i for batch in batches for i in batch] == list(range(60))
    assert len(batches) > 1


def test_a_batch_is_padded_and_has_its_text(corpus):
    data = data_of(corpus)
    batch = data.collate([data.dataset("train")[i] for i in (0, 6)])
    assert batch.source[0, -1] == PAD
    assert batch.source_text[1].upper() == batch.target_text[1]
    assert (batch.source == EOS).sum(1).tolist() == [1, 1]


def test_standard_input_is_read(corpus, monkeypatch):
    from pathlib import Path

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"dog sings\nsn\xf6w\n")))
    with pytest.raises(DataError, match="standard input, line 2"):
        data_of(corpus, path=Path("-")).dataset("predict")


def test_a_missing_argument_is_an_error(corpus):
    with pytest.raises(ArgumentError, match=r"--data\.train_source"):
        TranslationData().dataset("train")
    with pytest.raises(ArgumentError, match=r"--data\.test_target"):
        data_of(corpus, test_source=corpus / "x").dataset("test")
    with pytest.raises(ArgumentError, match=r"--data\.path"):
        data_of(corpus).dataset("predict")
    assert data_of(corpus).dataset("val") is None


@pytest.mark.parametrize("setting", ["vocabulary_size", "batch_pieces"])
def test_sizes_must_be_positive(setting):
    with pytest.raises(ValueError, match=setting):
        TranslationData(**{setting: 0})
