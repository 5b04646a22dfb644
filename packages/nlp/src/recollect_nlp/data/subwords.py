"""Subword pieces: a vocabulary learned from text, and the way from text to pieces and back."""

import io
from collections.abc import Iterable, Sequence

import sentencepiece
import torch
from torch import Tensor

from recollect.training.errors import DataError

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3


class Subwords:
    """A sentencepiece unigram vocabulary (Kudo 2018, arXiv:1804.10959), shared by both languages.

    Pieces 0 to 3 are padding, the unknown piece, the beginning and the end of a sentence.

    Args:
        model: What ``fit`` gave: the serialised sentencepiece model, ``(bytes,)`` uint8.

    Raises:
        ValueError: If ``model`` is not one.

    Example:
        >>> subwords = Subwords(Subwords.fit(["a dog runs", "ein Hund rennt", "a cat runs"], size=40))
        >>> subwords.decode(subwords.encode("a dog runs"))
        'a dog runs'
    """

    def __init__(self, model: Tensor) -> None:
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model.numpy(force=True).tobytes())
        except RuntimeError as error:
            raise ValueError(f"this is no sentencepiece model: {error}") from error

    @staticmethod
    def fit(lines: Iterable[str], size: int) -> Tensor:
        """A vocabulary of at most ``size`` pieces from ``lines``; fewer where the text does not hold so many.

        It covers every character of the text, and is the same for the same text.

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
                unk_id=UNKNOWN,
                bos_id=BEGIN,
                eos_id=END,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(f"cannot learn a vocabulary of {size} pieces: {error}") from error
        return torch.frombuffer(bytearray(model.getvalue()), dtype=torch.uint8)

    def __len__(self) -> int:
        """Number of pieces."""
        return int(self._processor.GetPieceSize())

    def encode(self, text: str) -> list[int]:
        """The pieces of a sentence and the end piece; what cannot be spelt is the unknown piece."""
        return [*self._processor.EncodeAsIds(text), END]

    def pieces(self, text: str) -> list[str]:
        """The same as readable pieces, as many as ``encode`` gives; "▁" begins a word."""
        return [*self._processor.EncodeAsPieces(text), "</s>"]

    def name(self, piece: int) -> str:
        """The readable form of one piece."""
        return str(self._processor.IdToPiece(piece))

    def decode(self, pieces: Sequence[int]) -> str:
        """The sentence that ``pieces`` spell, up to the first end piece; padding is left out."""
        text: list[int] = []
        for piece in pieces:
            if piece == END:
                break
            if piece not in (PAD, BEGIN):
                text.append(piece)
        return str(self._processor.DecodeIds(text))
