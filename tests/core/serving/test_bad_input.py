"""Whatever is sent: one line that names the field, no 500, nothing stored."""

import json

import pytest
from served_model import make_classifier

from recollect.serving import InputSpec, Limits

GOOD = [[1.0, 2.0, 3.0]]
BODIES = [
    ("predict", {}, 422, "inputs: "),
    ("predict", {"inputs": 3}, 422, "inputs: must be a list"),
    ("predict", {"inputs": []}, 422, "inputs: must have 1 to 256 items"),
    ("predict", {"inputs": [GOOD[0]] * 257}, 422, "inputs: must have 1 to 256 items, got 257"),
    ("predict", {"inputs": [[1, 2]]}, 422, "inputs: each item must have the shape (3)"),
    ("predict", {"inputs": [[1, 2, 3], [1]]}, 422, "inputs: must be nested lists of numbers"),
    ("predict", {"inputs": [[1, 2, "a"]]}, 422, "inputs: must be nested lists of numbers"),
    ("predict", {"inputs": [[1, 2, None]]}, 422, "inputs: must be nested lists of numbers"),
    ("predict", {"inputs": [[{}, {}, {}]]}, 422, "inputs: must be nested lists of numbers"),
    ("predict", {"inputs": [[True, False, True]]}, 422, "inputs: must be numbers"),
    ("predict", {"inputs": [[1, 2, 3e300]]}, 422, "inputs: numbers must be finite in float32"),
    ("predict", {"inputs": [[1, 2, float("nan")]]}, 422, "inputs: numbers must be finite"),
    ("predict", {"inputs": [[1, 2, 10**400]]}, 422, "inputs: must be nested lists of numbers"),
    ("predict", {"inputs": {"x": GOOD}}, 422, "inputs: must be a list"),
    ("predict", {"inputs": GOOD, "top": 0}, 422, "top: "),
    ("predict", {"inputs": GOOD, "top": "5"}, 422, "top: "),
    ("predict", {"inputs": GOOD, "k": 5}, 422, "k: "),
    ("predict", [GOOD], 422, "body: "),
    ("remember", {"inputs": GOOD}, 422, "targets: "),
    ("remember", {"inputs": GOOD, "targets": [5]}, 422, "targets: classes must be in [0, 5)"),
    ("remember", {"inputs": GOOD, "targets": [-1]}, 422, "targets: classes must be in [0, 5)"),
    ("remember", {"inputs": GOOD, "targets": [0.5]}, 422, "targets: must be integers"),
    ("remember", {"inputs": GOOD, "targets": [[1]]}, 422, "targets: "),
    ("remember", {"inputs": GOOD, "targets": [1, 1]}, 422, "targets: 1 items need as many targets"),
    ("remember", {"inputs": GOOD, "targets": [2**70]}, 422, "targets: "),
    ("remember", {"inputs": GOOD, "targets": [1], "source": ["a", "b"]}, 422, "source: 1 items"),
    ("remember", {"inputs": GOOD, "targets": [1], "source": 5}, 422, "source"),
    ("remember", {"inputs": GOOD, "targets": [1], "source": "a" * 1001}, 422, "source"),
    ("forget", {}, 422, "source: "),
    ("forget", {"source": []}, 422, "source"),
    ("forget", {"source": "a", "purge": "yes"}, 422, "purge: "),
]


@pytest.mark.parametrize(("path", "body", "status", "line"), BODIES)
def test_a_wrong_field_is_named_in_one_line(client, path, body, status, line):
    content = json.dumps(body)
    response = client.post(f"/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    error = response.json()["error"]
    assert error.startswith(line)
    assert "\n" not in error
    assert client.get("/v1/provenance").json()["rows"] == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[[[",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"inputs": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"\\ud800": 1}',
        b'{"source": "\\ud800", "inputs": [[1, 2, 3]], "targets": [1]}',
        b'{"inputs": [["' + b"a" * 1_000_000 + b'", 1, 2]], "targets": [1]}',
    ],
)
@pytest.mark.parametrize("path", ["predict", "remember", "forget"])
def test_a_body_that_is_no_request_is_refused(client, path, content):
    response = client.post(f"/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.json()["error"]


def test_a_form_of_a_web_page_writes_nothing(client):
    content = json.dumps({"inputs": GOOD, "targets": [1]})
    response = client.post("/v1/remember", content=content, headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert client.get("/v1/provenance").json()["rows"] == 0


def test_a_large_body_is_refused_whether_or_not_its_size_is_declared(serve):
    client = serve(make_classifier(), limits=Limits(body=1000))
    assert client.post("/v1/predict", content=b"x" * 1001).status_code == 413
    assert client.post("/v1/predict", content=iter([b"x" * 600, b"x" * 600])).status_code == 413
    assert client.post("/v1/predict", json={"inputs": GOOD}).status_code == 200


def test_what_the_model_does_not_take_is_the_clients_fault(serve):
    client = serve(make_classifier(), inputs="float32")
    response = client.post("/v1/predict", json={"inputs": [[1, 2]]})
    assert response.status_code == 422
    assert response.json()["error"].startswith("inputs: the model does not take inputs of shape (1, 2): ")
    response = client.post("/v1/remember", json={"inputs": [[1, 2]], "targets": [1]})
    assert response.json()["error"].startswith("inputs: the model does not take inputs of shape (1, 2): ")


def test_unknown_paths_methods_and_hosts(serve):
    client = serve(make_classifier(), hosts=["testserver"])
    assert client.get("/v1/nothing").status_code == 404
    assert client.get("/v1/predict").status_code == 405
    assert client.get("/v1/health", headers={"Host": "evil.example"}).status_code == 400


def test_writes_need_the_token_and_reads_do_not(serve):
    client = serve(make_classifier(), token="0123456789abcdef")
    write = {"inputs": GOOD, "targets": [1]}
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic 0123456789abcdef"}):
        for path, body in (("remember", write), ("forget", {"source": "a"})):
            response = client.post(f"/v1/{path}", json=body, headers=header)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
    right = {"Authorization": "Bearer 0123456789abcdef"}
    assert client.post("/v1/remember", json=write, headers=right).status_code == 200
    assert client.post("/v1/predict", json={"inputs": GOOD}).status_code == 200


@pytest.mark.parametrize("text", ["", "float33[3]", "float32[3", "float32[a]", "int64<x", "float32[3]<"])
def test_a_wrong_spec_is_refused(text):
    with pytest.raises(ValueError, match="is no input"):
        InputSpec.parse(text)
