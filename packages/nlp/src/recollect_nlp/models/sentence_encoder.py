"""Sentences as vectors."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_nlp.data.vocabulary import PADDING


@final
class SentenceEncoder(nn.Module):
    """s = Σ_j e(w_j) + W_2 relu(Σ_j W_1^(j) e(w_j) + b_1) + b_2: a bag of words, and their roles.

    Memory networks weigh the j-th word by a fixed vector (Sukhbaatar et al. 2015, arXiv:1503.08895,
    position encoding in section 4.1). Here sentences that share words are alike from the start, and a matrix
    for each position lets the encoder tell who did what to whom. Words past the last position share its
    matrix.

    Args:
        vocabulary_size: Number of word ids; 0 is padding.
        size: Width D of words and sentences.
        positions: How many words have a matrix of their own.
        dropout: Of the word vectors.

    Example:
        >>> encoder = SentenceEncoder(vocabulary_size=10, size=4)
        >>> encoder(torch.tensor([[2, 3, 0], [4, 5, 6]])).shape
        torch.Size([2, 4])
    """

    def __init__(self, vocabulary_size: int, size: int, positions: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, size, padding_idx=PADDING)
        nn.init.normal_(self.words.weight, std=0.1)
        with torch.no_grad():
            self.words.weight[PADDING] = 0
        self.dropout = nn.Dropout(dropout)
        self.positions = positions
        self.roles = nn.Linear(positions * size, 2 * size)
        self.mix = nn.Linear(2 * size, size)

    def forward(self, sentences: Tensor) -> Tensor:
        """Encode ``sentences`` ``(…, L)``, word ids padded with 0, as ``(…, D)``."""
        words = self.dropout(self.words(sentences))
        if words.shape[-2] > self.positions:
            rest = words[..., self.positions - 1 :, :].sum(-2, keepdim=True)
            words = torch.cat([words[..., : self.positions - 1, :], rest], -2)
        # The matrices of positions that no sentence of the batch reaches would only multiply zeros.
        roles = F.linear(
            words.flatten(-2), self.roles.weight[:, : words.shape[-2] * words.shape[-1]], self.roles.bias
        )
        sentence: Tensor = words.sum(-2) + self.mix(roles.relu())
        return sentence
