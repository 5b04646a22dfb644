"""Words and answers as numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self, final

from recollect.training.text import tokenize

PADDING = 0
"""The id that fills a sentence up to the length of its batch."""

UNKNOWN = 1
"""The id of every word that did not occur in training."""

NO_ANSWER = -1
"""The class of an answer that is missing or did not occur in training."""


@final
class Vocabulary:
    """The words of a training set and their ids, in alphabetical order; 0 is padding and 1 is any other word.

    Args:
        known: The words, none of them twice.

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

    def __init__(self, known: Iterable[str]) -> None:
        self._words = ["<padding>", "<unknown>", *known]
        self._ids = _positions(self._words)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """The vocabulary of these texts: call it with the training texts alone."""
        return cls(sorted({word for text in texts for word in tokenize(text)}))

    def __len__(self) -> int:
        """How many ids there are, padding and unknown included: the rows of an embedding table."""
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        """Whether the word has an id of its own."""
        return word in self._ids

    def encode(self, text: str) -> list[int]:
        """The ids of the words of a text; ``UNKNOWN`` for each word that is not in the vocabulary."""
        return [self._ids.get(word, UNKNOWN) for word in tokenize(text)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of these ids; padding is left out."""
        return [self._words[i] for i in ids if i != PADDING]

    def unknown(self, text: str) -> list[str]:
        """The words of a text that have no id of their own, in their order."""
        return [word for word in tokenize(text) if word not in self]

    def state(self) -> list[str]:
        """What ``Vocabulary(...)`` needs to make it again: a plain list, fit for a checkpoint."""
        return self._words[2:]


@final
class Answers:
    """The answers of a training set as classes, the most frequent first (then in alphabetical order).

    An answer is one class whatever it holds: ``"football,milk"`` is another class than ``"milk"``.

    Args:
        known: The answers in the order of their classes, none of them twice.

    Raises:
        ValueError: If an answer occurs twice.

    Example:
        >>> answers = Answers.of(["no", "yes", "yes"])
        >>> answers.encode("yes"), answers.encode("perhaps"), answers[0]
        (0, -1, 'yes')
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._answers = list(known)
        self._classes = _positions(self._answers)

    @classmethod
    def of(cls, answers: Iterable[str]) -> Self:
        """The classes of these answers: call it with the training answers alone."""
        counts = Counter(answers)
        return cls(sorted(counts, key=lambda answer: (-counts[answer], answer)))

    def __len__(self) -> int:
        """How many classes there are."""
        return len(self._answers)

    def __getitem__(self, index: int) -> str:
        """The answer of a class."""
        return self._answers[index]

    def encode(self, answer: str) -> int:
        """The class of an answer; ``NO_ANSWER`` if it is none of the training answers."""
        return self._classes.get(answer, NO_ANSWER)

    def state(self) -> list[str]:
        """What ``Answers(...)`` needs to make these classes again: a plain list, fit for a checkpoint."""
        return list(self._answers)


def _positions(items: Sequence[str]) -> dict[str, int]:
    positions = {item: i for i, item in enumerate(items)}
    if len(positions) < len(items):
        twice = next(item for item, count in Counter(items).items() if count > 1)
        raise ValueError(f"{twice!r} stands twice in the list.")
    return positions
