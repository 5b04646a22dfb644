"""Subword tokenization, learned from text."""

import io
from collections.abc import Iterable, Sequence

import sentencepiece
import torch
from torch import Tensor

from recollect.training.errors import DataError
from recollect_nlp.types import BOS, EOS, PAD, UNK


class SubwordTokenizer:
    """A sentencepiece unigram model (Kudo 2018, arXiv:1804.10959), shared by both languages.

    Args:
        model: The serialised sentencepiece model that ``fit`` returns, ``(bytes,)`` uint8.

    Raises:
        ValueError: If ``model`` is not a sentencepiece model.

    Example:
        >>> lines = ["a dog runs", "ein Hund rennt", "a cat runs"]
        >>> tokenizer = SubwordTokenizer(SubwordTokenizer.fit(lines, size=40))
        >>> tokenizer.decode(tokenizer.encode("a dog runs"))
        'a dog runs'
    """

    def __init__(self, model: Tensor) -> None:
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model.numpy(force=True).tobytes())
        except RuntimeError as error:
            raise ValueError(f"not a sentencepiece model: {error}") from error

    @staticmethod
    def fit(lines: Iterable[str], size: int) -> Tensor:
        """Train a model of at most ``size`` pieces; of fewer if the text does not contain that many.

        It covers every character of the text and is deterministic.

        Raises:
            DataError: If ``size`` is too small for the characters of the text.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=iter(lines),
                model_writer=model,
                vocab_size=size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                num_threads=1,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(f"cannot fit a vocabulary of {size} pieces: {error}") from error
        return torch.frombuffer(bytearray(model.getvalue()), dtype=torch.uint8)

    def __len__(self) -> int:
        """Return the number of pieces."""
        return int(self._processor.GetPieceSize())

    def encode(self, text: str) -> list[int]:
        """Return the pieces of a sentence, followed by ``EOS``; ``UNK`` stands for unknown characters."""
        return [*self._processor.EncodeAsIds(text), EOS]

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a sentence as text, one for each id of ``encode``; "▁" begins a word."""
        return [*self._processor.EncodeAsPieces(text), "</s>"]

    def piece(self, index: int) -> str:
        """Return one piece as text."""
        return str(self._processor.IdToPiece(index))

    def decode(self, pieces: Sequence[int]) -> str:
        """Return the text of ``pieces`` up to the first ``EOS``, without padding."""
        text: list[int] = []
        for piece in pieces:
            if piece == EOS:
                break
            if piece not in (PAD, BOS):
                text.append(piece)
        return str(self._processor.DecodeIds(text))
