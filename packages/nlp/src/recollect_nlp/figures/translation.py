"""Figures of translation: attention of the decoder to the source."""

from collections.abc import Sequence

from torch import Tensor

from recollect.training import ReadHeatmap
from recollect_nlp.data.subword_tokenizer import SubwordTokenizer
from recollect_nlp.models.translation import until_eos

MAX_FIGURES = 4
"""Number of sentences of a batch to draw."""


def attention_figures(
    sources: Sequence[str],
    source_pieces: Sequence[Sequence[str]],
    translations: Tensor,
    attention: Tensor,
    tokenizer: SubwordTokenizer,
) -> list[ReadHeatmap]:
    """Return a heat map of the attention of each piece of a translation to the source pieces.

    Args:
        sources: B sentences.
        source_pieces: Pieces of each sentence.
        translations: ``(B, T)`` pieces.
        attention: ``(B, T, S)`` weights.
        tokenizer: The tokenizer of the translations.
    """
    figures = []
    for source, columns, row, weights in zip(sources, source_pieces, translations, attention, strict=True):
        pieces = until_eos(row)
        figures.append(
            ReadHeatmap(
                title=f"{source} → {tokenizer.decode(pieces)}",
                weights=weights[: len(pieces), : len(columns)],
                rows=[tokenizer.piece(piece) for piece in pieces],
                columns=columns,
                across="translation",
                down="source that is read",
            )
        )
    return figures
