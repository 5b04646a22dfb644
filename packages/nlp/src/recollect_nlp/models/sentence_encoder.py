"""An encoder of sentences."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect_nlp.types import PAD


@final
class SentenceEncoder(nn.Module):
    """s = Σ_j e(w_j) + W_2 relu(Σ_j W_1^(j) e(w_j) + b_1) + b_2: a bag of words, and their positions.

    Memory networks weight the j-th word by a fixed vector (Sukhbaatar et al. 2015, arXiv:1503.08895, position
    encoding in section 4.1). Here the sum makes sentences with common words similar at initialisation, and a
    matrix per position distinguishes who did what to whom. Words after the last position share its matrix.

    Args:
        vocabulary_size: Number of word ids; 0 is padding.
        size: Width D of words and sentences.
        positions: Number of positions with a matrix of their own.
        dropout: Dropout rate of the word embeddings.

    Example:
        >>> encoder = SentenceEncoder(vocabulary_size=10, size=4)
        >>> encoder(torch.tensor([[2, 3, 0], [4, 5, 6]])).shape
        torch.Size([2, 4])
    """

    def __init__(self, vocabulary_size: int, size: int, positions: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, size, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[PAD] = 0
        self.dropout = nn.Dropout(dropout)
        self.positions = positions
        self.position_proj = nn.Linear(positions * size, 2 * size)
        self.out_proj = nn.Linear(2 * size, size)

    def forward(self, sentences: Tensor) -> Tensor:
        """Encode sentences ``(…, L)``, word ids padded with 0, as ``(…, D)``."""
        words = self.dropout(self.embedding(sentences))  # (…, L, D)
        if words.shape[-2] > self.positions:
            rest = words[..., self.positions - 1 :, :].sum(-2, keepdim=True)
            words = torch.cat([words[..., : self.positions - 1, :], rest], -2)
        # Matrices of positions after the longest sentence would only multiply zeros.
        hidden = F.linear(
            words.flatten(-2),
            self.position_proj.weight[:, : words.shape[-2] * words.shape[-1]],
            self.position_proj.bias,
        )
        sentence: Tensor = words.sum(-2) + self.out_proj(hidden.relu())
        return sentence
