"""Under load: nothing that is acknowledged is lost, what is too much is refused, a stop finishes the rest."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from served_model import SlowEngine, make_classifier

from recollect.serving import Limits
from recollect.serving.service import Service

WRITE = {"inputs": [[1.0, 2.0, 3.0]], "targets": [1]}


def test_concurrent_writers_and_readers_lose_nothing(serve, slow, engine):
    client = serve(slow)

    def write(number):
        body = {"inputs": [[float(number), 0.0, 1.0]], "targets": [number % 5], "source": f"s{number}"}
        response = client.post("/v1/remember", json=body)
        assert response.status_code == 200
        answer = client.post("/v1/explain", json={"inputs": body["inputs"]}).json()
        assert f"s{number}" in {row["source"] for row in answer["outputs"][0]["citations"]} or number > 4
        return response.json()["rows"][0]

    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(write, range(64)))
    assert len(set(rows)) == 64
    origins = engine.origins(torch.tensor(rows))
    assert [origin.source for origin in origins] == [f"s{number}" for number in range(64)]
    assert client.get("/v1/provenance").json()["sources"] == 64
    assert client.get("/v1/health").json()["pending"] == 0


def test_writes_that_wait_share_a_commit(slow, engine):
    service, opened = Service(slow), threading.Event()
    engine.gate = opened.wait
    inputs, targets = torch.ones(1, 3), torch.tensor([1])
    futures = [service.remember(inputs * number, targets, f"s{number}") for number in range(50)]
    assert not any(future.done() for future in futures)
    service.predict(inputs).result(timeout=60)  # all writes have passed the model, and reads go on
    opened.set()
    rows = [int(future.result(timeout=60)) for future in futures]
    assert sorted(rows) == list(range(50))
    assert engine.commits <= 3
    assert [engine.origins(torch.tensor([row]))[0].source for row in rows] == [f"s{n}" for n in range(50)]
    service.close()


def test_reads_that_wait_share_a_call_and_get_their_own_answers(slow):
    service = Service(slow)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    service.remember(x[:20], torch.arange(20) % 5, [f"s{number}" for number in range(20)]).result(timeout=60)
    alone = [service.predict(x[n : n + 1], explained=True).result(timeout=60) for n in range(40)]
    calls, opened = [], threading.Event()
    slow.register_forward_pre_hook(
        lambda _, inputs: (calls.append(len(inputs[0])), opened.wait(60))[:0] or None
    )
    futures = [service.predict(x[n : n + 2], explained=n % 2 == 0) for n in range(39)]
    opened.set()
    together = [future.result(timeout=60) for future in futures]
    assert len(calls) <= 5
    assert max(calls) <= 32
    for n, prediction in enumerate(together):
        assert prediction.positions == [(0,), (1,)]
        expected = torch.cat([alone[n].output, alone[n + 1].output])
        torch.testing.assert_close(prediction.output, expected)
        cited = [[row.row for row in each.citations] for each in prediction.explanations]
        rows = [[row.row for row in each.explanations[0].citations] for each in alone[n : n + 2]]
        assert cited == (rows if n % 2 == 0 else [])
    service.close()


def test_a_read_that_the_model_refuses_does_not_spoil_the_others(slow):
    service, opened = Service(slow), threading.Event()
    hook = slow.register_forward_pre_hook(lambda *_: opened.wait(60) and None)
    first = service.predict(torch.ones(1, 3))
    wrong, right = service.predict(torch.full((1, 3), torch.nan)), service.predict(torch.ones(1, 3))
    opened.set()
    assert first.result(timeout=60).output.shape == right.result(timeout=60).output.shape == (1, 5)
    with pytest.raises(ValueError, match="inputs: the model's output for them is not finite"):
        wrong.result(timeout=60)
    hook.remove()
    service.close()


def test_a_wrong_write_does_not_spoil_the_commit_of_others(slow, engine):
    service, opened = Service(slow), threading.Event()
    engine.gate = opened.wait
    inputs = torch.ones(1, 3)
    first = service.remember(inputs, torch.tensor([0]), "first")
    wrong, right = (service.remember(inputs, torch.tensor([target]), "x") for target in (7, 4))
    service.predict(inputs).result(timeout=60)
    opened.set()
    assert int(first.result(timeout=60)) == 0
    with pytest.raises(ValueError, match=r"targets must be classes in \[0, 5\), got 7"):
        wrong.result(timeout=60)
    assert int(right.result(timeout=60)) == 1
    service.close()


def test_beyond_the_queue_the_answer_is_503_and_a_stop_finishes_what_was_accepted(serve, slow, engine):
    client, opened, entered = serve(slow, limits=Limits(pending=3)), threading.Event(), threading.Semaphore(0)

    def gate():
        entered.release()
        opened.wait(60)

    engine.gate = gate
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.post, "/v1/remember", json=WRITE) for _ in range(3)]
        assert entered.acquire(timeout=60)
        while client.get("/v1/health").json()["pending"] < 3:
            pass
        for method, path, body in (("POST", "remember", WRITE), ("GET", "provenance", None)):
            refused = client.request(method, f"/v1/{path}", json=body)
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
        opened.set()
        assert [future.result().status_code for future in waiting] == [200, 200, 200]
    assert engine.count() == 3


def test_closing_stores_what_was_accepted(slow, engine):
    service = Service(slow)
    futures = [service.remember(torch.ones(1, 3), torch.tensor([1]), "a") for _ in range(20)]
    service.close()
    assert all(future.done() for future in futures)
    assert engine.count() == 20


def test_a_store_that_is_away_is_a_503_and_nothing_is_stored(serve, slow, engine):
    client = serve(slow)

    def gate():
        raise OSError("the disk is full")

    engine.gate = gate
    response = client.post("/v1/remember", json=WRITE)
    assert response.status_code == 503
    assert response.json()["error"] == "the store is away, nothing was changed: the disk is full"
    assert "Retry-After" in response.headers
    engine.gate = lambda: None
    assert client.post("/v1/remember", json=WRITE).json() == {"rows": [0], "written": 1}


def test_a_store_of_another_model_is_refused():
    engine = SlowEngine()
    engine.claim("0123456789abcdef")
    from recollect.storages.external import ExternalStorage

    with pytest.raises(ValueError, match="keys of the model 0123456789abcdef"):
        Service(make_classifier(ExternalStorage(engine)))
