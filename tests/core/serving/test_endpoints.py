"""Each endpoint answers what the function of the same name does."""

import pytest
import torch
from served_model import CLASSES, D, make_classifier
from torch import nn

from recollect import Interpolation, NeighborMemory, VectorStorage, augment, remember
from recollect.serving import InputSpec, make_app

X = [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]


def post(client, path, **body):
    response = client.post(f"/v1/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_predictions_are_those_of_the_model(client):
    model = make_classifier()
    post(client, "remember", inputs=X, targets=[2, 0], source=["a", "b"])
    remember(model, torch.tensor(X), torch.tensor([2, 0]), source=["a", "b"])
    expected = model(torch.tensor(X)).softmax(-1)
    outputs = post(client, "predict", inputs=X, top=CLASSES)["outputs"]
    assert [output["position"] for output in outputs] == [[0], [1]]
    for output, row in zip(outputs, expected, strict=True):
        assert output["weight"] == pytest.approx(0.9)
        given = {entry["class"]: entry["probability"] for entry in output["classes"]}
        assert [given[number] for number in range(CLASSES)] == pytest.approx(row.tolist(), abs=1e-6)
    assert [output["classes"][0]["class"] for output in outputs] == [2, 0]


def test_a_row_is_cited_counted_and_forgotten(client):
    assert post(client, "remember", inputs=X, targets=[2, -100], source="ticket-4711") == {
        "rows": [0, -1],
        "written": 1,
    }
    (output, _) = post(client, "explain", inputs=X, top=1)["outputs"]
    (cited,) = output["citations"]
    assert (cited["row"], cited["source"], cited["target"]) == (0, "ticket-4711", 2)
    assert cited["weight"] == pytest.approx(1)
    assert cited["distance"] == pytest.approx(0, abs=1e-6)
    found = client.get("/v1/provenance").json()
    assert found == {"layer": "2", "rows": 1, "sources": 1, "largest": {"ticket-4711": 1}}
    assert post(client, "forget", source=["ticket-4711", "another"]) == {"forgotten": 1}
    assert post(client, "forget", source="ticket-4711", purge=False) == {"forgotten": 0}
    (output, _) = post(client, "explain", inputs=X)["outputs"]
    assert output["citations"] == []
    assert output["weight"] == 0
    assert client.get("/v1/provenance").json()["rows"] == 0


def test_provenance_names_the_largest_sources(client):
    post(client, "remember", inputs=[X[0]] * 3, targets=[0, 1, 2], source=["a", "b", "b"])
    found = client.get("/v1/provenance", params={"limit": 1}).json()
    assert found == {"layer": "2", "rows": 3, "sources": 2, "largest": {"b": 2}}


def test_a_memory_of_vectors_returns_values(serve):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2))
    memory = NeighborMemory(3, VectorStorage(3, 2, slots=8), k=1)
    client = serve(
        augment(model, at="0", memory=memory, integration=lambda *a, **o: Interpolation(*a, gate=1.0, **o))
    )
    post(client, "remember", inputs=X, targets=[[5.0, 6.0], [7.0, 8.0]])
    outputs = post(client, "explain", inputs=X)["outputs"]
    assert [output["value"] for output in outputs] == [pytest.approx([5, 6]), pytest.approx([7, 8])]
    assert outputs[0]["citations"][0]["target"] == [5.0, 6.0]
    assert "classes" not in outputs[0]


class Tagger(nn.Module):
    """Classes of tokens, given tokens and a number for each sentence."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, D)
        self.head = nn.Linear(D, CLASSES)

    def forward(self, tokens, shift):
        """Logits of each token."""
        return self.head(self.embedding(tokens) + shift[:, None, None])


def test_sequences_and_several_inputs(serve):
    torch.manual_seed(0)
    memory = NeighborMemory(D, VectorStorage(D, 1, slots=64), classes=CLASSES)
    model = augment(Tagger(), at="head", memory=memory, integration=Interpolation)
    inputs = {"tokens": InputSpec.parse("int64[*]<11"), "shift": InputSpec.parse("float32[]")}
    client = serve(model, inputs)
    given = {"tokens": [[1, 2, 3], [4, 5, 6]], "shift": [0.0, 1.0]}
    answer = post(client, "remember", inputs=given, targets=[[0, 1, 2], [3, 4, -100]])
    assert answer == {"rows": [[0, 1, 2], [3, 4, -1]], "written": 5}
    outputs = post(client, "explain", inputs=given)["outputs"]
    assert [output["position"] for output in outputs] == [
        [item, step] for item in (0, 1) for step in range(3)
    ]
    response = client.post("/v1/predict", json={"inputs": {"tokens": [[11]], "shift": [0.0]}})
    assert (response.status_code, response.json()) == (
        422,
        {"error": "inputs.tokens: integers must be in [0, 11)"},
    )


def test_the_schema_says_what_the_model_takes(client):
    schema = client.get("/openapi.json").json()["components"]["schemas"]["RememberBody"]["properties"]
    assert schema["inputs"]["items"] == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 3,
        "maxItems": 3,
    }
    assert schema["targets"]["items"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": CLASSES - 1}


def test_a_model_without_a_lasting_memory_is_refused():
    with pytest.raises(ValueError, match="no layer of this Linear has a lasting memory"):
        make_app(nn.Linear(2, 2))


def test_an_app_can_be_mounted():
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    outer = FastAPI()
    outer.mount("/memory", make_app(make_classifier(), InputSpec.parse("float32[3]")))
    client = TestClient(outer)
    assert client.post("/memory/v1/predict", json={"inputs": X}).status_code == 200
