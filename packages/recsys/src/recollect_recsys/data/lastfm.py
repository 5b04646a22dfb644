"""Last.fm: artists that people listen to."""

from typing import final

from recollect_recsys.data.events import read_events
from recollect_recsys.data.published_split import Part, PublishedSplit


@final
class LastFmData(PublishedSplit):
    """1,880 users, 4,489 artists, 42,135 + 10,533 pairs, as split in LightGCN's repository.

    HetRec 2011 (Cantador, Brusilovsky & Kuflik), for non-commercial research. How often a user listened to an
    artist is in the file and not used.
    """

    folder = "lastfm"
    url = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/lastfm"
    parts = (
        Part("train.txt", "7d5736fa777c27934cd647b4682e151ab32f523031ca182923917046fac1d9da"),
        Part("test.txt", "c39d38d81af507cebbf627e8a52bf42ea67d4d38da2711efe988d836bda19f14"),
    )
    reader = staticmethod(read_events)
