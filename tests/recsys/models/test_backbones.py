"""Backbones are causal, and padding after a session changes nothing."""

import pytest
import torch

from recollect_recsys.models.backbone import Backbone
from recollect_recsys.models.gru4rec import GRU4Rec
from recollect_recsys.models.sasrec import SASRec

BACKBONES = {"gru": lambda: GRU4Rec(8, layers=2), "sasrec": lambda: SASRec(8, steps=6, heads=2)}


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES[request.param]().eval()


def test_a_step_knows_only_what_came_before(backbone: Backbone) -> None:
    x = torch.randn(2, 6, 8)
    changed = x.clone()
    changed[:, 4:] = torch.randn(2, 2, 8)
    torch.testing.assert_close(backbone(x)[:, :4], backbone(changed)[:, :4])
    assert not torch.allclose(backbone(x)[:, 4:], backbone(changed)[:, 4:])
    torch.testing.assert_close(backbone(x)[:, :3], backbone(x[:, :3]))


def test_the_order_of_items_matters(backbone: Backbone) -> None:
    x = torch.randn(1, 3, 8)
    assert not torch.allclose(backbone(x)[:, -1], backbone(x[:, [1, 0, 2]])[:, -1])


def test_a_session_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than steps=6"):
        SASRec(8, steps=6)(torch.randn(1, 7, 8))


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"layers": 0}, {"steps": 0}])
def test_sizes_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        SASRec(**{"size": 8, "steps": 4, **wrong})
