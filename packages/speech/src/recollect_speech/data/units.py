"""Units of transcripts as numbers: words, characters or subwords; 0 is the CTC blank."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, final

import regex
import sentencepiece
import torch
from torch import Tensor

from recollect.training import DataError
from recollect.training.text import WORD_CHARACTER, normalize
from recollect_speech.types import BLANK

UnitKind = Literal["words", "characters", "subwords"]

_SPOKEN = rf"{WORD_CHARACTER}\p{{Sc}}%‰°#&@+=×÷'"
_SIGN = rf"(?<![{WORD_CHARACTER}])[\-−](?=\p{{N}})"
_NOT_SPOKEN = regex.compile(rf"(?!{_SIGN})[^{_SPOKEN}]")


def normalize_text(text: str) -> str:
    """Normalise a transcript: NFC, lower case, no punctuation but the apostrophe, single spaces.

    Symbols that are read aloud stay: currencies, ``%``, ``+``, ``&``, the sign of a number and so on.

    Example:
        >>> normalize_text("Please call Stella -- it's  LATE.")
        "please call stella it's late"
        >>> normalize_text("-5 °C, $5 or 5%: well-known")
        '-5 °c $5 or 5% well known'
    """
    return " ".join(_NOT_SPOKEN.sub(" ", normalize(text).lower().replace("’", "'")).split())


class Units(Protocol):
    """A mapping between text and numbers from 1 on."""

    kind: UnitKind

    def __len__(self) -> int:
        """Number of units, including the blank."""
        ...

    def encode(self, text: str) -> list[int]:
        """The units of a text; unknown words or characters are skipped."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of units."""
        ...

    def name(self, unit: int) -> str:
        """The text of a unit, with a leading space at the start of a word."""
        ...

    def state(self) -> Any:
        """The state for ``restore_units``."""
        ...


@final
class Symbols:
    """Words, or characters including the space.

    Args:
        kind: Words or characters.
        symbols: The symbols, in the order of their numbers.

    Example:
        >>> units = Symbols("characters", [" ", "a", "b"])
        >>> units.encode("ab a"), units.decode([2, 3])
        ([2, 3, 1, 2], 'ab')
    """

    def __init__(self, kind: Literal["words", "characters"], symbols: Sequence[str]) -> None:
        self.kind: UnitKind = kind
        self._symbols = list(symbols)
        self._ids = {symbol: number for number, symbol in enumerate(self._symbols, start=1)}
        self._separator = " " if kind == "words" else ""

    def __len__(self) -> int:
        """Number of units, including the blank."""
        return len(self._symbols) + 1

    def encode(self, text: str) -> list[int]:
        """The units of a text; unknown words or characters are skipped."""
        parts = text.split() if self.kind == "words" else text
        return [self._ids[part] for part in parts if part in self._ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of units."""
        return " ".join(self._separator.join(self._symbols[i - 1] for i in ids).split())

    def name(self, unit: int) -> str:
        """The text of a unit."""
        return (" " if self.kind == "words" else "") + self._symbols[unit - 1]

    def state(self) -> list[str]:
        """The symbols."""
        return self._symbols


@final
class Subwords:
    """A sentencepiece unigram vocabulary (Kudo 2018, arXiv:1804.10959).

    Args:
        model: The serialised model that ``train`` returns, ``(bytes,)`` uint8.

    Example:
        >>> units = Subwords(Subwords.train(["one two", "two three one"], size=20))
        >>> units.decode(units.encode("three two"))
        'three two'
    """

    kind: UnitKind = "subwords"

    def __init__(self, model: Tensor) -> None:
        self._model = model
        self._pieces = sentencepiece.SentencePieceProcessor()
        self._pieces.LoadFromSerializedProto(model.numpy(force=True).tobytes())

    @staticmethod
    def train(texts: Iterable[str], size: int) -> Tensor:
        """Train a vocabulary of at most ``size`` pieces that covers all characters of ``texts``.

        Raises:
            DataError: If ``size`` is too small for the characters.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                num_threads=1,
                unk_id=0,  # the blank's number: unknown characters have no unit
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(f"cannot train a vocabulary of {size} pieces: {error}") from error
        return torch.frombuffer(bytearray(model.getvalue()), dtype=torch.uint8)

    def __len__(self) -> int:
        """Number of units, including the blank."""
        return int(self._pieces.GetPieceSize())

    def encode(self, text: str) -> list[int]:
        """The units of a text; unknown words or characters are skipped."""
        return [i for i in self._pieces.EncodeAsIds(text) if i != BLANK]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of units."""
        return str(self._pieces.DecodeIds(list(ids)))

    def name(self, unit: int) -> str:
        """The text of a unit."""
        return str(self._pieces.IdToPiece(unit)).replace("▁", " ")

    def state(self) -> Tensor:
        """The serialised model."""
        return self._model


def fit_units(kind: UnitKind, texts: Sequence[str], size: int) -> Units:
    """Fit units on texts; pass training texts only.

    Args:
        kind: Kind of units.
        texts: Texts as ``normalize_text`` returns them.
        size: Size of the vocabulary of subwords.
    """
    if kind == "subwords":
        return Subwords(Subwords.train(texts, size))
    found = {part for text in texts for part in (text.split() if kind == "words" else text)}
    return Symbols(kind, sorted(found))


def restore_units(kind: UnitKind, state: Any) -> Units:
    """Rebuild units from their ``state``."""
    return Subwords(state) if kind == "subwords" else Symbols(kind, state)
