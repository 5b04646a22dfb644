"""Words and answers as ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self, final

from recollect.training.text import tokenize
from recollect_nlp.types import NO_ANSWER, PAD, UNK


@final
class Vocabulary:
    """The words of a training set and their ids, in alphabetical order after ``PAD`` and ``UNK``.

    Args:
        words: The words, without duplicates.

    Raises:
        ValueError: If a word occurs twice.

    Example:
        >>> vocabulary = Vocabulary.of(["Mary moved.", "Where is Mary?"])
        >>> vocabulary.encode("Where is John?")
        [5, 2, 1]
        >>> vocabulary.unknown("Where is John?")
        ['john']
        >>> Vocabulary(vocabulary.state()).encode("Mary moved.") == vocabulary.encode("Mary moved.")
        True
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = ["<padding>", "<unknown>", *words]
        self._ids = _positions(self._words)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Build the vocabulary of texts; pass the training texts only."""
        return cls(sorted({word for text in texts for word in tokenize(text)}))

    def __len__(self) -> int:
        """Return the number of ids, including ``PAD`` and ``UNK``."""
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        """Return whether the word has an id of its own."""
        return word in self._ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words of a text, ``UNK`` for unknown words."""
        return [self._ids.get(word, UNK) for word in tokenize(text)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the words of ids, without padding."""
        return [self._words[i] for i in ids if i != PAD]

    def unknown(self, text: str) -> list[str]:
        """Return the unknown words of a text, in their order."""
        return [word for word in tokenize(text) if word not in self]

    def state(self) -> list[str]:
        """Return the argument that rebuilds the vocabulary, for checkpoints."""
        return self._words[2:]


@final
class Answers:
    """The answers of a training set as classes, by falling frequency, then in alphabetical order.

    An answer is one class whatever it contains: ``"football,milk"`` is another class than ``"milk"``.

    Args:
        answers: The answers in the order of their classes, without duplicates.

    Raises:
        ValueError: If an answer occurs twice.

    Example:
        >>> answers = Answers.of(["no", "yes", "yes"])
        >>> answers.encode("yes"), answers.encode("perhaps"), answers[0]
        (0, -1, 'yes')
    """

    def __init__(self, answers: Iterable[str]) -> None:
        self._answers = list(answers)
        self._classes = _positions(self._answers)

    @classmethod
    def of(cls, answers: Iterable[str]) -> Self:
        """Build the classes of answers; pass the training answers only."""
        counts = Counter(answers)
        return cls(sorted(counts, key=lambda answer: (-counts[answer], answer)))

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self._answers)

    def __getitem__(self, index: int) -> str:
        """Return the answer of a class."""
        return self._answers[index]

    def encode(self, answer: str) -> int:
        """Return the class of an answer, ``NO_ANSWER`` if it did not occur in training."""
        return self._classes.get(answer, NO_ANSWER)

    def state(self) -> list[str]:
        """Return the argument that rebuilds the classes, for checkpoints."""
        return list(self._answers)


def _positions(items: Sequence[str]) -> dict[str, int]:
    positions = {item: i for i, item in enumerate(items)}
    if len(positions) < len(items):
        repeated = next(item for item, count in Counter(items).items() if count > 1)
        raise ValueError(f"duplicate item {repeated!r}")
    return positions
