"""The real datasets hold what their authors say."""

import pytest

from recollect_vision.data.fashion_mnist import FashionMnistData


@pytest.mark.data
def test_fashion_mnist_has_as_many_images_of_each_class():
    data = FashionMnistData()
    data.prepare_data()
    assert len(data.classes) == 10
    assert data.part("train").labels.bincount().tolist() == [6000] * 10
    assert data.part("test").labels.bincount().tolist() == [1000] * 10
    assert [len(data.numbers[split]) for split in ("train", "val", "test")] == [54000, 6000, 10000]
    assert abs(data.fitted["mean"][0] - 0.286) < 1e-3
    assert abs(data.fitted["deviation"][0] - 0.353) < 1e-3
