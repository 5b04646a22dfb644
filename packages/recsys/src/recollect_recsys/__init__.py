"""Recommendation with a memory of each user."""

from typing import TYPE_CHECKING

from recollect_cli.lazy import lazy_imports

if TYPE_CHECKING:
    from recollect_recsys.data.collaborative import CollaborativeData
    from recollect_recsys.data.gowalla import GowallaData
    from recollect_recsys.data.interaction_graph import InteractionGraphData
    from recollect_recsys.data.interactions import InteractionsData
    from recollect_recsys.data.lastfm import LastFmData
    from recollect_recsys.data.ml_1m import MovieLens1mData
    from recollect_recsys.data.ml_1m_split import MovieLens1mSplit
    from recollect_recsys.data.ml_100k import MovieLens100kData
    from recollect_recsys.data.sequential import SequentialData
    from recollect_recsys.data.synthetic import SyntheticData
    from recollect_recsys.models.backbone import Backbone
    from recollect_recsys.models.graph_filter import GraphFilter
    from recollect_recsys.models.gru4rec import GRU4Rec
    from recollect_recsys.models.interest_memory import InterestMemory
    from recollect_recsys.models.light_gcn import LightGCN
    from recollect_recsys.models.matrix_factorization import MatrixFactorization
    from recollect_recsys.models.popularity import Popularity
    from recollect_recsys.models.sasrec import SASRec
    from recollect_recsys.serving.collaborative import GraphRecommender
    from recollect_recsys.serving.sequential import Recommender
    from recollect_recsys.tasks.collaborative import CollaborativeFiltering
    from recollect_recsys.tasks.sequential import NextItem
else:
    __getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "Backbone",
    "CollaborativeData",
    "CollaborativeFiltering",
    "GRU4Rec",
    "GowallaData",
    "GraphFilter",
    "GraphRecommender",
    "InteractionGraphData",
    "InteractionsData",
    "InterestMemory",
    "LastFmData",
    "LightGCN",
    "MatrixFactorization",
    "MovieLens1mData",
    "MovieLens1mSplit",
    "MovieLens100kData",
    "NextItem",
    "Popularity",
    "Recommender",
    "SASRec",
    "SequentialData",
    "SyntheticData",
]
