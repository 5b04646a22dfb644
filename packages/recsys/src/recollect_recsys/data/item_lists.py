"""Files of lists: ``user item item …``, one user per line, as in the published splits."""

import re
from pathlib import Path

from recollect.training import DataError
from recollect.training.tables import BLANKS
from recollect.training.text import read_lines
from recollect_recsys.data.events import Events, check_ids


def read_item_lists(path: str | Path) -> Events:
    """Read every user's items, in the order of the file; a user alone on a line has none.

    Args:
        path: The file, plain or gzipped, with cells separated by blanks.

    Raises:
        DataError: If the file has no items or an id is negative; the message names file and line.
    """
    path = Path(path)
    users: list[str] = []
    items: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(read_lines(path), 1):
        user, *listed = re.split(r"[ \t]+", line.strip(BLANKS))
        users += [user] * len(listed)
        items += listed
        lines += [number] * len(listed)
    if not items:
        raise DataError(f"{path} has no lists of items: wanted is a line of 'user item item …' for each user")
    check_ids(str(path), "user", users, lines)
    check_ids(str(path), "item", items, lines)
    return Events(str(path), users, items, None, lines)
