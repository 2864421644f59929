"""The predictor over HTTP: TensorFlow Serving's row form, the V2 inference protocol, forms, and a page for people."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from landmarks.serving import messages, service
from landmarks.serving.messages import FORM, Error, Explanation, Given, Inference, Inferred, Predictions, Rows
from landmarks.serving.middleware import Guard, Limits, Metrics
from landmarks.serving.predictor import Predictor, Provenance
from landmarks.serving.service import Service
from landmarks.serving.similar import Training

Tags = list[str | Enum]

NAME = "landmarks"
PAGE = Path(__file__).with_name("page.html")
# The page is one file with its own style and script, and shows what its visitor gave it
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(
    predictor: Predictor, limits: Limits, key: str = "", learn: Callable[[], Training | None] = lambda: None
) -> FastAPI:
    """The ASGI application.

    Args:
        predictor: who answers.
        limits: what one request may cost.
        key: the API key that requests must show; empty: none.
        learn: gives the training photos among which similar ones are looked for, or None; called beside the first requests.
    """
    metrics = Metrics()
    MultiPartParser.spool_max_size = int(limits.megabytes * 1e6)  # no photo touches the disk; the body is bounded

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running(predictor, limits, metrics, learn) as app.state.service:
            yield

    app = FastAPI(
        title="Landmarks",
        version="1",
        description="Which landmark is in the photo? Nothing that is sent here is kept.",
        lifespan=lifespan,
        docs_url=None,  # they would be fetched from another host
        redoc_url=None,
        responses={code: {"model": Error} for code in (400, 401, 408, 413, 415, 422, 429)},
    )
    app.add_middleware(Guard, limits=limits, key=key, metrics=metrics)
    _errors(app)
    _for_people(app)
    _for_operators(app, metrics)
    _tensorflow_serving(app, predictor.provenance)
    _v2(app, predictor.provenance)
    _forms(app)
    return app


def _errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": messages.first(error.errors())}, 422)


Top = Annotated[int, Query(ge=1, le=100, description="Choices listed a photo")]


def _service(request: Request) -> Service:
    return request.app.state.service


def _for_people(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(PAGE.read_text(), headers=headers)


def _for_operators(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/metrics", summary="For Prometheus", response_class=Response, tags=["operation"])
    async def told() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _tensorflow_serving(app: FastAPI, provenance: Provenance) -> None:
    tags: Tags = ["TensorFlow Serving"]
    base = f"/v1/models/{NAME}"

    @app.post(
        f"{base}:predict",
        tags=tags,
        summary="Which places do these photos show?",
        openapi_extra=messages.takes(Rows, {"instances": [{"b64": messages.example()}]}),
    )
    async def predict(request: Request, top: Top = 3) -> Predictions:
        rows, working = await messages.parsed(Rows, request), _service(request)
        photos = messages.bounded([row.b64 for row in rows.instances], "instances", working.limits.instances)
        return Predictions(predictions=await working.predict(photos, "instances", top))

    @app.get(base, tags=tags, summary="Is the model there?")
    async def status() -> dict[str, Any]:
        fine = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [fine]}

    @app.get(f"{base}/metadata", tags=tags, summary="Which model answers, and what it was made with")
    async def metadata() -> dict[str, Any]:
        spec = {"name": NAME, "signature_name": "", "version": "1"}
        return {"model_spec": spec, "metadata": dataclasses.asdict(provenance)}


def _v2(app: FastAPI, provenance: Provenance) -> None:
    tags: Tags = ["V2 inference protocol"]
    base = f"/v2/models/{NAME}"
    version, classes = next(reversed(provenance.md5.values())), len(provenance.labels)
    outputs = {"label": "BYTES", "name": "BYTES", "known": "BOOL", "confidence": "FP32", "probabilities": "FP32"}

    @app.get("/v2", tags=tags, summary="Which server is this?")
    async def server() -> dict[str, Any]:
        return {"name": NAME, "version": app.version, "extensions": []}

    @app.get("/v2/health/live", tags=tags, summary="Does it answer?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=tags, summary="Can it predict?")
    async def ready() -> dict[str, bool]:
        return {"ready": True}  # it listens only once the model is loaded

    @app.get(f"{base}/ready", tags=tags, summary="Can it predict?")
    async def model_ready() -> dict[str, Any]:
        return {"name": NAME, "ready": True}

    @app.get(base, tags=tags, summary="What it takes and gives")
    async def metadata() -> dict[str, Any]:
        given = [
            {"name": name, "datatype": kind, "shape": [-1, classes] if name == "probabilities" else [-1]}
            for name, kind in outputs.items()
        ]
        return {
            "name": NAME,
            "versions": [version],
            "platform": "tensorflow",
            "inputs": [{"name": "photo", "datatype": "BYTES", "shape": [-1]}],
            "outputs": given,
            "labels": provenance.labels,
        }

    photo = {"name": "photo", "shape": [1], "datatype": "BYTES", "data": [messages.example()]}

    @app.post(
        f"{base}/infer",
        tags=tags,
        summary="Which places do these photos show? BYTES are base64",
        openapi_extra=messages.takes(Inference, {"inputs": [photo]}),
    )
    async def infer(request: Request) -> Inferred:
        asked, working = await messages.parsed(Inference, request), _service(request)
        values = messages.flat(asked.inputs[0])
        wanted = [output.name for output in asked.outputs] or list(outputs)
        if unknown := set(wanted).difference(outputs):
            raise HTTPException(400, f"outputs: no {min(unknown)!r}; there are {', '.join(outputs)}")
        rows = await working.rows(messages.bounded(values, "photo", working.limits.instances), "photo")
        shares = [row[1] for _, row in rows]
        said = [working.predictor.answer(share, 1) for share in shares]
        columns: dict[str, list[Any]] = {
            "probabilities": np.stack(shares).astype(float).round(6).ravel().tolist(),
            **{name: [getattr(one, name) for one in said] for name in ("label", "name", "known", "confidence")},
        }
        for one in said:
            working.metrics.photos.labels("known" if one.known else "unknown").inc()
        return Inferred(
            model_name=NAME,
            model_version=version,
            id=asked.id,
            outputs=[
                Given.model_construct(
                    name=name,
                    shape=[len(said), *([classes] if name == "probabilities" else [])],
                    datatype=outputs[name],
                    data=columns[name],
                )
                for name in wanted
            ],
        )


def _forms(app: FastAPI) -> None:
    file = {"type": "string", "format": "binary", "description": "A JPEG, PNG, WebP or BMP"}

    def takes(schema: dict[str, Any]) -> dict[str, Any]:
        form = {"type": "object", "required": ["photo"], "properties": {"photo": schema}}
        return {"requestBody": {"required": True, "content": {FORM: {"schema": form}}}}

    @app.post(
        "/v1/photos",
        tags=["forms"],
        summary="Which places do these files show?",
        openapi_extra=takes({"type": "array", "items": file, "minItems": 1}),
    )
    async def photos(request: Request, top: Top = 3) -> Predictions:
        working = _service(request)
        return Predictions(
            predictions=await working.predict(await messages.uploaded(request, working.limits.instances), "photo", top)
        )

    @app.post(
        "/v1/explain", tags=["forms"], summary="Where the network looks, what it knows alike", openapi_extra=takes(file)
    )
    async def explain(request: Request, top: Top = 10) -> Explanation:
        working = _service(request)
        contents = await messages.uploaded(request, working.limits.instances)
        if len(contents) > 1:
            raise HTTPException(413, f"photo: {len(contents)} files, one is explained at a time")
        return await working.explain(contents[0], top)
