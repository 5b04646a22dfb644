import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from recollect_nlp.metrics.question_answering import ErrorPerTask

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3), st.integers(0, 2)), min_size=1, max_size=60)


def expected(rows):
    wrong = {t: [p != a for p, a, task in rows if task == t] for t in range(3)}
    errors = {f"error/t{t}": 100 * sum(w) / len(w) for t, w in wrong.items() if w}
    return {
        "accuracy": sum(p == a for p, a, _ in rows) / len(rows),
        "mean_error": sum(errors.values()) / len(errors),
        "failed_tasks": sum(error > 5 for error in errors.values()),
        **errors,
    }


def values(metric):
    return {name: value.item() for name, value in metric.compute().items()}


@given(rows=ROWS, cut=st.integers(0, 60))
def test_values_equal_the_definition_for_any_batches(rows, cut):
    metric = ErrorPerTask(["t0", "t1", "t2"])
    for part in (rows[:cut], rows[cut:]):
        if part:
            metric.update(*torch.tensor(part).unbind(1))
    assert values(metric) == pytest.approx(expected(rows))


@given(rows=ROWS, cut=st.integers(0, 60))
def test_processes_are_summed(rows, cut):
    metrics = [ErrorPerTask(["t0", "t1", "t2"]) for _ in range(2)]
    for metric, part in zip(metrics, (rows[:cut], rows[cut:]), strict=True):
        if part:
            metric.update(*torch.tensor(part).unbind(1))
    total = ErrorPerTask(["t0", "t1", "t2"])
    for name, reduce in total._reductions.items():
        setattr(total, name, reduce(torch.stack([getattr(metric, name) for metric in metrics])))
    total._update_count = 1
    assert values(total) == pytest.approx(expected(rows))


def test_exactly_five_per_cent_is_not_a_failure():
    metric = ErrorPerTask(["qa1", "qa2"])
    answers = torch.zeros(200, dtype=torch.long)
    predicted = answers.clone()
    predicted[:5] = 1  # 5 of 100
    predicted[100:106] = 1  # 6 of 100
    metric.update(predicted, answers, torch.arange(200) // 100)
    assert values(metric) == pytest.approx(
        {"accuracy": 0.945, "mean_error": 5.5, "failed_tasks": 1, "error/qa1": 5, "error/qa2": 6}
    )


def test_an_unseen_answer_is_always_an_error():
    metric = ErrorPerTask(["qa1"])
    metric.update(torch.tensor([-1]), torch.tensor([-1]), torch.tensor([0]))
    assert values(metric)["accuracy"] == 0


def test_names_in_a_collection_and_reset():
    collection = MetricCollection(ErrorPerTask(["qa1"]))
    collection.update(torch.tensor([1]), torch.tensor([1]), torch.tensor([0]))
    assert set(collection.compute()) == {"accuracy", "mean_error", "failed_tasks", "error/qa1"}
    collection.reset()
    collection.update(torch.tensor([1]), torch.tensor([2]), torch.tensor([0]))
    assert collection.compute()["error/qa1"] == 100


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="one or more distinct names"):
        ErrorPerTask(["qa1", "qa1"])
    with pytest.raises(ValueError, match="one or more distinct names"):
        ErrorPerTask([])
    with pytest.raises(ValueError, match=r"must have the same shape, got \[\(2,\), \(1,\), \(1,\)\]"):
        ErrorPerTask(["qa1"]).update(torch.zeros(2), torch.zeros(1), torch.zeros(1))
