"""Losses of lists, written out."""

import torch

from recollect_recsys.models.collaborative_losses import bpr_loss, softmax_loss

USERS, ITEMS = torch.randn(3, 4), torch.randn(7, 4)
SEEN = torch.tensor([[1, 3, 0], [6, 0, 0], [2, 4, 5]])


def test_softmax_is_the_mean_over_clicks() -> None:
    scores = USERS @ ITEMS[1:].T
    clicks = [(u, i) for u, row in enumerate(SEEN.tolist()) for i in row if i]
    expected = -sum(scores[u].log_softmax(0)[i - 1] for u, i in clicks) / len(clicks)
    torch.testing.assert_close(softmax_loss(USERS, ITEMS, SEEN), torch.as_tensor(expected))


def test_sampled_softmax_of_all_items_counts_the_click_once_more() -> None:
    every = torch.arange(1, 7)
    scores = USERS @ ITEMS[1:].T
    clicks = [(u, i) for u, row in enumerate(SEEN.tolist()) for i in row if i]
    expected = sum(
        torch.logaddexp(scores[u].logsumexp(0), scores[u, i - 1]) - scores[u, i - 1] for u, i in clicks
    ) / len(clicks)
    torch.testing.assert_close(softmax_loss(USERS, ITEMS, SEEN, every), torch.as_tensor(expected))


def test_bpr_of_equal_scores_is_log_two_and_falls_as_clicks_rise() -> None:
    torch.testing.assert_close(bpr_loss(USERS, torch.zeros_like(ITEMS), SEEN), torch.tensor(2.0).log())
    clear = torch.zeros(7, 1)
    clear[1] = 50
    seen = torch.tensor([[1]])
    losses = [bpr_loss(torch.ones(1, 1), clear, seen).item() for _ in range(50)]
    assert min(losses) < 1e-6  # drawn: another item
    assert max(losses) < 0.7  # drawn: the click itself
