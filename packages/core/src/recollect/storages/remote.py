"""A storage on a Milvus server, which several machines share."""

from collections.abc import Mapping
from typing import Any, final

from recollect.ops.distance import Metric
from recollect.storages.external import ExternalStorage
from recollect.storages.remote_engine import MilvusEngine


@final
class RemoteStorage(ExternalStorage):
    """Rows on a Milvus server: Milvus Lite on one machine, or a cluster for more rows than a machine holds.

    All processes that name the same server and collection share the rows. See ``ExternalStorage`` for reads
    and states, ``MilvusEngine`` for what the server promises, and docs/distributed.md for how to run one.
    Needs ``pip install recollect[remote]``.

    Args:
        uri: ``http://host:port``, or ``https://…`` for TLS.
        key_size: Width K of keys and queries, 2 or more.
        value_size: Width V of values.
        metric: ``"cosine"``, ``"l2"`` or ``"dot"``; fixed when the collection is made.
        collection: Name of the collection, which is created if there is none.
        token: ``user:password`` or an API key; none by default.
        timeout: Seconds within which a request must succeed.
        retries: Number of repetitions of a request at most.
        index: Index of the keys, such as ``{"index_type": "HNSW", "params": {"M": 16}}``; the server's choice
            by default.
        search_params: How to search that index, such as ``{"ef": 128}``.
        shards: Number of shards of a new collection, which share its writes.
        replicas: Number of copies in memory of a new collection, which share its searches.
        top_k: Number of rows that a read attends to.
        sharpness: Initial factor on the similarity; 10 for cosine, 1/√K for the other metrics by default.
        learn_sharpness: Make the factor a parameter (kept positive).
        capacity: Rows in a space at most; the oldest are erased beyond it. No limit by default.
        match_from: Cosine from which on ``erase`` takes a row's key for the given one.

    Raises:
        ImportError: If pymilvus is not installed.
        ValueError: If an argument is out of range, or the collection has other sizes or another metric.
        OSError: If the server does not answer (``ConnectionError``) or refuses.
    """

    def __init__(
        self,
        uri: str,
        key_size: int,
        value_size: int,
        *,
        metric: Metric = "cosine",
        collection: str = "recollect",
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        index: Mapping[str, Any] | None = None,
        search_params: Mapping[str, Any] | None = None,
        shards: int = 1,
        replicas: int = 1,
        top_k: int = 32,
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        capacity: int | None = None,
        match_from: float = 0.999,
    ) -> None:
        engine = MilvusEngine(
            uri,
            key_size,
            value_size,
            metric,
            collection=collection,
            token=token,
            timeout=timeout,
            retries=retries,
            index=index,
            search_params=search_params,
            shards=shards,
            replicas=replicas,
        )
        super().__init__(
            engine,
            top_k=top_k,
            sharpness=sharpness,
            learn_sharpness=learn_sharpness,
            capacity=capacity,
            match_from=match_from,
        )
