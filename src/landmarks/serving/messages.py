"""What travels over HTTP: the bodies that are taken, read and described; the answers."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from landmarks.serving.predictor import Prediction

Body = TypeVar("Body", bound=BaseModel)
FORM = "multipart/form-data"
MOST = 1024  # photos a request whatever the limits: a body of small change is not even read to its end
CODES = {"json_invalid": 400, "bytes_invalid_encoding": 400, "too_long": 413}  # by what is wrong with a body; else 422
BASE64 = ConfigDict(val_json_bytes="base64")
Base64 = Annotated[bytes, WithJsonSchema({"type": "string", "format": "byte"})]


class Instance(BaseModel):
    """A photo."""

    model_config = BASE64
    b64: Base64 = Field(description="The bytes of a JPEG, PNG, WebP or BMP in base64")


class Rows(BaseModel):
    """TensorFlow Serving's row form."""

    instances: list[Instance] = Field(min_length=1, max_length=MOST, fail_fast=True)


class Predictions(BaseModel):
    """An answer a photo, in their order."""

    predictions: list[Prediction]


Row = Annotated[list[Base64], Field(max_length=MOST, fail_fast=True)]
Column = Annotated[list[Annotated[list[Base64], Field(max_length=1)]], Field(max_length=MOST, fail_fast=True)]


class Tensor(BaseModel):
    """An input of the V2 protocol."""

    model_config = BASE64
    name: str
    shape: list[int] = Field(min_length=1, max_length=2)
    datatype: str
    data: Row | Column


class Wanted(BaseModel):
    """An output that is asked for."""

    name: str


class Inference(BaseModel):
    """A request of the V2 protocol."""

    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Wanted] = Field(default=[], max_length=16)


class Given(BaseModel):
    """An output of the V2 protocol."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES", "FP32", "BOOL"]
    data: list[str] | list[float] | list[bool]


class Inferred(BaseModel):
    """An answer of the V2 protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Given]


class Likeness(BaseModel):
    """A training photo, its faces obscured."""

    id: str
    label: str
    name: str
    cosine: float
    jpeg: str = Field(description="A small copy, in base64")


class Explanation(BaseModel):
    """Why the network says so."""

    prediction: Prediction
    label: str = Field(description="The landmark that the map is of: the surest")
    crop: bool = Field(description="Whether the network saw the middle square, or all of the photo squashed")
    drops: list[list[float]] = Field(description="What covering a place takes from the probability of the landmark")
    similar: list[Likeness] = Field(description="The most similar training photos; none where they are not there")


class Error(BaseModel):
    """What went wrong, in one line."""

    error: str


def first(errors: Sequence[Any]) -> str:
    """Where the first thing is wrong, and what; never the value, which may be a photo."""
    # list[...] is pydantic's word for a form that a union may have
    parts = [part for part in errors[0]["loc"] if not str(part).startswith("list[")]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"{place.lstrip('.') or 'the body'}: {errors[0]['msg']}"


async def parsed(kind: type[Body], request: Request) -> Body:
    """The body as ``kind``, whatever its Content-Type: TensorFlow Serving's own examples send none that is right."""
    body = await request.body()
    if (
        body.count(b"{") + body.count(b"[") > 4 * MOST
    ):  # a photo has neither; as Python objects they weigh a hundredfold
        raise HTTPException(413, "the body: more objects and lists than the largest request has")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        found.sort(key=lambda one: (one["type"] not in CODES, -len(one["loc"])))  # of a union, the form that was meant
        raise HTTPException(CODES.get(found[0]["type"], 422), first(found)) from None


def bounded(contents: list[bytes], name: str, most: int) -> list[bytes]:
    """The same photos. Raises ``HTTPException`` if they are more than ``most``; ``name`` is the field."""
    if len(contents) > most:
        raise HTTPException(413, f"{name}: {len(contents)} photos, at most {most} a request")
    return contents


def flat(tensor: Tensor) -> list[bytes]:
    """The photos of an input. Raises ``HTTPException`` if it is another tensor than ``photo``, BYTES of one dimension."""
    if tensor.name != "photo" or tensor.datatype != "BYTES":
        raise HTTPException(
            400, f"inputs: {tensor.name[:40]!r} of {tensor.datatype[:40]!r}; 'photo' of 'BYTES' is taken"
        )
    values = [value for part in tensor.data for value in ([part] if isinstance(part, bytes) else part)]
    if tensor.shape not in ([len(values)], [len(values), 1]):
        raise HTTPException(400, f"inputs: {len(values)} strings in the shape {tensor.shape}; it is [{len(values)}]")
    if not values:
        raise HTTPException(400, "inputs: no photo")
    return values


async def uploaded(request: Request, most: int) -> list[bytes]:
    """The files of the field ``photo``."""
    if not request.headers.get("content-type", "").startswith(FORM):
        raise HTTPException(415, f"a form is expected: Content-Type {FORM}, the files in its field photo")
    async with request.form(max_files=most, max_fields=8) as form:
        found = [await value.read() for value in form.getlist("photo") if isinstance(value, UploadFile)]
    if not found:
        raise HTTPException(422, "photo: no file in this field of the form")
    return found


@functools.cache
def example() -> str:
    """A photo in base64, the smallest that shows something: for the examples in the OpenAPI description."""
    ramp = np.add.outer(np.arange(0, 240, 30), np.zeros(8)).astype(np.uint8)
    return base64.b64encode(cv2.imencode(".jpg", ramp)[1].tobytes()).decode()


def takes(kind: type[BaseModel], value: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of a body that ``parsed`` reads."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = schema.pop("$defs", {})
    for part in parts.values():
        part.pop("title", None)
    content = {"schema": _inlined(schema, parts), "example": value}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(part, parts) for name, part in schema.items()}
