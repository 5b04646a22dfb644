"""Whatever the OpenAPI schema allows, and much that it forbids: no 500."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from served_model import make_classifier

from recollect.serving import InputSpec, make_app

OPERATIONS = [
    ("/v1/predict", "POST"),
    ("/v1/explain", "POST"),
    ("/v1/remember", "POST"),
    ("/v1/forget", "POST"),
    ("/v1/provenance", "GET"),
]
BUSY = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def schema():
    app = make_app(make_classifier(), InputSpec.parse("float32[3]"))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.thorough
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_of_the_schema_or_near_it_is_a_500(schema, path, method, mode):
    strategy = schema[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=25, deadline=None, suppress_health_check=BUSY, derandomize=True)
    @given(case=strategy)
    def run(case):
        response = case.call()
        assert response.status_code < 500

    run()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=12,
)
FIELDS = {"inputs": JSON, "targets": JSON, "source": JSON, "top": JSON, "purge": JSON}


@settings(max_examples=60, deadline=None, suppress_health_check=[*BUSY, HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["predict", "explain", "remember", "forget"]),
    body=st.fixed_dictionaries({}, optional=FIELDS),
)
def test_any_json_is_no_500(client, path, body):
    content = json.dumps(body)
    response = client.post(f"/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 422)
