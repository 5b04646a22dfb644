"""The graph of clicks in a graph memory: weights, users who come and go."""

import torch

from recollect_recsys.models.click_memory import ClickMemory

CLICKS = torch.tensor([[1, 1, 2, 3], [1, 2, 2, 4]])


def test_messages_weigh_by_the_degrees_of_both_ends() -> None:
    memory = ClickMemory(items=4, users=3, clicks=9, size=8, user_power=0.3, item_power=0.5)
    graph = memory.build_graph(CLICKS)
    dense = graph.adjacency.to_dense()
    assert torch.equal(dense, dense.T)
    degree = {1: 1, 2: 2, 3: 0, 4: 1}
    clicks = {1: 2, 2: 1, 3: 1}
    expected = torch.zeros(8, 8)
    for user, item in CLICKS.T.tolist():
        weight = clicks[user] ** -0.3 * degree[item] ** -0.5
        expected[4 + user, item] = expected[item, 4 + user] = weight
    torch.testing.assert_close(dense, expected)


def test_users_are_nodes_that_come_and_go_and_items_stay() -> None:
    memory = ClickMemory(items=4, users=2, clicks=9, size=64)
    state = memory.graph.write(memory.graph.initial_state(), memory.codes(0, 5))
    first, second = memory.codes(1, 1), memory.codes(2, 1)
    state, one = memory.add_user(state, first)
    state, two = memory.add_user(state, second)
    assert (one, two) == (5, 6)
    state = memory.add_clicks(memory.add_clicks(state, one, [1, 3]), two, [3, 2])
    assert memory.items_of_user(state, one).tolist() == [1, 3]
    gone = memory.remove_user(state, first)
    assert memory.items_of_user(gone, one).tolist() == []
    assert memory.items_of_user(gone, two).tolist() == [2, 3]
    assert memory.add_user(gone, memory.codes(3, 1))[1] == one, "the place is free again"
    assert memory.items_of_user(state, one).tolist() == [1, 3], "a state is a value"


def test_past_the_last_place_the_oldest_click_goes() -> None:
    memory = ClickMemory(items=4, users=2, clicks=3, size=64)
    state = memory.graph.write(memory.graph.initial_state(), memory.codes(0, 5))
    state, node = memory.add_user(state, memory.codes(1, 1))
    assert memory.items_of_user(memory.add_clicks(state, node, [4, 1, 2, 3]), node).tolist() == [1, 2, 3]
