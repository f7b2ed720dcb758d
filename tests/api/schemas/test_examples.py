"""The examples in the API's description."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from api.schemas.examples import EXAMPLES

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def schemas_of(client: TestClient) -> dict[str, Any]:
    schemas: dict[str, Any] = client.get("/openapi.json").json()["components"]["schemas"]
    return schemas


def models_below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from models_below(model)


def test_every_schema_of_an_object_has_an_example_and_every_example_a_schema(
    client: TestClient,
) -> None:
    schemas = schemas_of(client)
    objects = {name for name, schema in schemas.items() if schema.get("type") == "object"}

    assert {name for name in objects if "examples" not in schemas[name]} == set()
    assert set(EXAMPLES) <= objects


def test_every_example_fits_its_schema(client: TestClient) -> None:
    names = schemas_of(client)
    models = {
        model.__name__: model
        for model in models_below(BaseModel)
        if model.__module__.startswith("api.schemas") and model.__name__ in names
    }
    assert set(models) >= set(EXAMPLES)

    for name, example in EXAMPLES.items():
        model = models[name].model_validate_json(json.dumps(example))
        assert model.model_dump(mode="json", exclude_unset=True) == example, name
