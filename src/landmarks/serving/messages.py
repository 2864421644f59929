"""The bodies of HTTP requests and responses: parsed, checked, described for OpenAPI."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import cv2
import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from landmarks.common.errors import InputError
from landmarks.dataset import schema as schema_of_tables
from landmarks.dataset.places import Place
from landmarks.serving import uploads
from landmarks.serving.predictor import Prediction


def _decoded(value: Any) -> Any:
    """The bytes of a text in base64; another type as it is, which pydantic refuses."""
    if not isinstance(value, str):
        return value
    try:
        return uploads.decode_base64(value)
    except InputError as error:
        raise PydanticCustomError("bytes_invalid_encoding", "{reason}", {"reason": str(error)}) from None


Base64 = Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "format": "byte"})]
INPUT = "photo"  # name of the only input of the signature serving_default
FORM = "multipart/form-data"
MAX_PHOTOS = 1024  # in a request, whatever the limits: parsing a body of many tiny entries stops here
STATUS_CODES = {"json_invalid": 400, "bytes_invalid_encoding": 400, "too_long": 413}  # by pydantic's error; others 422


def _unnamed(value: Any) -> Any:
    """The value of ``{"photo": value}``, as TensorFlow Serving names the inputs of a signature; another value as it is."""
    return value[INPUT] if isinstance(value, dict) and value.keys() == {INPUT} else value


class Photo(BaseModel):
    """A photo."""

    b64: Base64 = Field(description="The bytes of a JPEG, PNG, WebP or BMP in base64")


Photos = Annotated[
    list[Annotated[Photo, BeforeValidator(_unnamed)]], Field(min_length=1, max_length=MAX_PHOTOS, fail_fast=True)
]


class PredictRequest(BaseModel):
    """A request in TensorFlow Serving's row format, ``instances``, or its column format, ``inputs``."""

    signature_name: Literal["serving_default", ""] = "serving_default"
    instances: Photos | None = None
    inputs: Annotated[Photos | None, BeforeValidator(_unnamed)] = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if (self.instances is None) == (self.inputs is None):
            raise PydanticCustomError("form", "one of instances and inputs is expected")
        return self


class Predictions(BaseModel):
    """One prediction for each photo, in their order."""

    predictions: list[Prediction]


class Outputs(BaseModel):
    """The same in the column format."""

    outputs: list[Prediction]


class SimilarPhoto(BaseModel):
    """A training photo, its faces obscured, and who took it, as far as known."""

    id: str
    label: str
    name: str
    author: str
    license: str
    url: str
    cosine: float
    jpeg: str = Field(description="A small copy, in base64")


class KnownPlaces(BaseModel):
    """What is known about each landmark of the model."""

    places: list[Place]


class SamplePhoto(BaseModel):
    """A photo to try, and who took it, as far as known."""

    id: str = Field(description="The photo itself is at /v1/samples/{id}")
    label: str = Field(description="The landmark in it; empty: none that the model knows")
    name: str
    author: str
    license: str
    url: str
    jpeg: str = Field(description="A small copy, in base64")


class Samples(BaseModel):
    """Photos to try; empty if the server has none."""

    samples: list[SamplePhoto]


class Explanation(BaseModel):
    """A prediction, its occlusion map and similar photos."""

    prediction: Prediction
    label: str = Field(description="The landmark that the map explains: the most probable one")
    crop: bool = Field(description="Whether the map is of the middle square; if not, of the whole photo squashed")
    drops: list[list[float]] = Field(description="By how much covering a place lowers the landmark's probability")
    similar: list[SimilarPhoto] = Field(description="The most similar training photos; empty if the server has none")


class Kept(BaseModel):
    """Under which id a photo and its answer are kept."""

    id: str


class Error(BaseModel):
    """What is wrong with the request, in one line."""

    error: str


def first_error(errors: Sequence[Any]) -> str:
    """Where the first validation error is, and what it is; without the value, which may be a photo."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in errors[0]["loc"])
    return f"{place.lstrip('.') or 'the body'}: {errors[0]['msg']}"


async def parse_json(request: Request) -> PredictRequest:
    """The body, whatever its Content-Type: TensorFlow Serving's examples use ``curl -d``, which sends a wrong one.

    Raises ``HTTPException``: 400 if it is not JSON or a photo is not base64, 413 for too many entries, else 422.
    """
    body = await request.body()
    if body.count(b"{") + body.count(b"[") > 4 * MAX_PHOTOS:  # as Python objects they would take 100 times the memory
        raise HTTPException(413, "the body: more objects and lists than the largest request has")
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise HTTPException(STATUS_CODES.get(errors[0]["type"], 422), first_error(errors)) from None


async def parse_form(request: Request, max_files: int) -> list[bytes]:
    """The files in the field ``photo`` of a form.

    Raises ``HTTPException``: 400 if the form is damaged or has more than ``max_files``, 415 if the body is no form, 422 if it has no such file.
    """
    if not request.headers.get("content-type", "").startswith(FORM):
        raise HTTPException(415, f"a form is expected: Content-Type {FORM}, the files in its field photo")
    async with request.form(max_files=max_files, max_fields=8) as form:
        files = [await value.read() for value in form.getlist("photo") if isinstance(value, UploadFile)]
    if not files:
        raise HTTPException(422, "photo: no file in this field of the form")
    return files


@dataclass(frozen=True)
class Answer:
    """What somebody said of a photo. ``landmark`` is empty for none that the model knows."""

    landmark: str
    predicted: str


async def parse_answer(request: Request, labels: Sequence[str]) -> tuple[bytes, Answer]:
    """The file in the field ``photo`` of a form, and the fields ``landmark`` and ``predicted``.

    Raises ``HTTPException`` as ``parse_form``, and 422 unless both name one of ``labels``, none, or unknown.
    """
    (photo,) = await parse_form(request, 1)
    async with request.form() as form:  # it was kept
        landmark, predicted = (form.get(name) for name in ("landmark", "predicted"))
    if landmark not in {*labels, ""} or predicted not in {*labels, schema_of_tables.UNKNOWN}:
        raise HTTPException(422, "landmark, predicted: one of the model's landmarks each; landmark may be empty")
    return photo, Answer(landmark=str(landmark), predicted=str(predicted))


def signature() -> dict[str, Any]:
    """The signature as TensorFlow Serving's metadata describe it."""
    tensor = {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}}
    predict = {
        "inputs": {INPUT: {**tensor, "name": f"{INPUT}:0"}},
        "outputs": {"predictions": {**tensor, "name": "predictions:0"}},
        "method_name": "tensorflow/serving/predict",
    }
    return {"signature_def": {"serving_default": predict}}


def describe_json() -> dict[str, Any]:
    """The OpenAPI description of a body that ``parse_json`` reads, with a photo of 8 x 8 pixels as its example."""
    schema = PredictRequest.model_json_schema()
    photo = schema.pop("$defs")["Photo"]
    for form in ("instances", "inputs"):
        schema["properties"][form] = {"type": "array", "items": photo, "minItems": 1, "maxItems": MAX_PHOTOS}
    schema["oneOf"] = [{"required": ["instances"]}, {"required": ["inputs"]}]
    ramp = np.add.outer(np.arange(0, 240, 30), np.zeros(8)).astype(np.uint8)
    example = {"instances": [{"b64": base64.b64encode(cv2.imencode(".jpg", ramp)[1].tobytes()).decode()}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def describe_form(schema: dict[str, Any], fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """The OpenAPI description of a form that ``parse_form`` reads; ``schema`` is that of its field ``photo``."""
    properties = {"photo": schema, **(fields or {})}
    form = {"type": "object", "required": list(properties), "properties": properties}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": form}}}}
