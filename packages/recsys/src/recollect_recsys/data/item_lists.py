"""Files of lists: ``user item item …``, one user a line, as the published splits have them."""

from pathlib import Path

from recollect.training import DataError
from recollect_recsys.data.events import Events, check_ids, read_lines


def read_item_lists(path: str | Path) -> Events:
    """Every user's items, in the order of the file; a user who stands there alone has none.

    Args:
        path: The file, perhaps packed by gzip, with cells parted by blanks.

    Raises:
        DataError: If the file has no items, or an id is negative; file and line are named.
    """
    path = Path(path)
    users: list[str] = []
    items: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(read_lines(path), 1):
        user, *listed = line.split() or [""]
        users += [user] * len(listed)
        items += listed
        lines += [number] * len(listed)
    if not items:
        raise DataError(f"{path} has no lists of items: wanted is a line of 'user item item …' for each user")
    check_ids(path, "user", users, lines)
    check_ids(path, "item", items, lines)
    return Events(str(path), users, items, None, lines)
