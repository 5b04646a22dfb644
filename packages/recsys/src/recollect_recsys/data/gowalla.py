"""Gowalla: check-ins at places."""

from typing import final

from recollect_recsys.data.item_lists import read_item_lists
from recollect_recsys.data.published_split import Part, PublishedSplit


@final
class GowallaData(PublishedSplit):
    """29,858 users, 40,981 places, 810,128 + 217,242 check-ins, as split by NGCF and LightGCN.

    Liang et al. 2016, "Modeling User Exposure in Recommendation"; split of He et al. 2020, arXiv:2002.02126.
    """

    folder = "gowalla"
    url = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/gowalla"
    parts = (
        Part("train.txt", "d453bfc18e5613d6310ab05f7ebc1c6c724ee913dc31c769d1c8743c678d27f7"),
        Part("test.txt", "dac9527045e35230c82e4a5c54715b5e60f8a7bbe935ffdb4ee2ebe21c32ddb7"),
    )
    reader = staticmethod(read_item_lists)
