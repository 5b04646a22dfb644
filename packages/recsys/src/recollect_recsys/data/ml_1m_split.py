"""MovieLens-1M as a graph: films that people rated."""

from typing import final

from recollect_recsys.data.item_lists import read_item_lists
from recollect_recsys.data.published_split import Part, PublishedSplit


@final
class MovieLens1mSplit(PublishedSplit):
    """6,022 users, 3,043 films, 796,244 + 99,455 ratings that count as clicks, as split by UltraGCN.

    Harper & Konstan 2015; split of Mao et al. 2021, arXiv:2110.15114. GroupLens forbids redistribution and
    commercial use.
    """

    folder = "ml-1m-lightgcn"
    url = "https://raw.githubusercontent.com/xue-pai/UltraGCN/main/data/ml-1m"
    parts = (
        Part("train.txt", "823f40718817967f41141d3072f945779621c97dd7e4e3db35b5f98f9ae4e042"),
        Part("test.txt", "560849c3712b6dc7edcf5a8af3365063f13f1eaa0bd46380897020aed6ca82ce"),
    )
    reader = staticmethod(read_item_lists)
