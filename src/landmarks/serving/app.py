"""The HTTP application: TensorFlow Serving's row format, forms, and a page for people."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from landmarks.serving import messages, service
from landmarks.serving.limits import RequestLimits
from landmarks.serving.messages import Error, Explanation, Predictions
from landmarks.serving.metrics import ServerMetrics
from landmarks.serving.middleware import LimitMiddleware, error_response
from landmarks.serving.photo_index import PhotoIndex
from landmarks.serving.predictor import ModelRecord, Predictor
from landmarks.serving.service import PredictionService

Tags = list[str | Enum]
Top = Annotated[int, Query(ge=1, le=100, description="How many of the most probable landmarks are listed per photo")]

MODEL = "/v1/models/landmarks"
PAGE = Path(__file__).with_name("page.html")
# The page is one file with its own style and script, and shows photos that the visitor chose
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def create_app(
    predictor: Predictor,
    limits: RequestLimits,
    key: str = "",
    build_index: Callable[[], PhotoIndex | None] = lambda: None,
) -> FastAPI:
    """The ASGI application.

    ``key`` is the API key that requests must carry; empty: none. ``build_index`` returns the index of training photos, or
    None, while the first requests are answered.
    """
    metrics = ServerMetrics()
    MultiPartParser.spool_max_size = int(limits.megabytes * 1e6)  # uploads stay in memory, none is written to disk

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running(predictor, limits, metrics, build_index) as app.state.service:
            yield

    app = FastAPI(
        title="Landmarks",
        version="1",
        description="Which landmark is in the photo? No photo is stored.",
        lifespan=lifespan,
        docs_url=None,  # both would load scripts from another host
        redoc_url=None,
        responses={code: {"model": Error} for code in (400, 401, 408, 413, 415, 422, 429)},
    )
    app.add_middleware(LimitMiddleware, limits=limits, key=key, metrics=metrics)
    _add_error_handlers(app)
    _add_page(app)
    _add_operation(app, metrics)
    _add_tensorflow_serving(app, predictor.record)
    _add_forms(app)
    return app


def _service(request: Request) -> PredictionService:
    return request.app.state.service


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": messages.first_error(error.errors())}, 422)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(), headers=HEADERS)


def _add_operation(app: FastAPI, metrics: ServerMetrics) -> None:
    tags: Tags = ["operation"]

    @app.get("/health/live", tags=tags, summary="Is the process alive?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/health/ready", tags=tags, summary="Can it predict?")
    async def ready() -> dict[str, bool]:
        return {"ready": True}  # the server listens only after the model is loaded

    @app.get("/metrics", tags=tags, summary="Metrics for Prometheus", response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_tensorflow_serving(app: FastAPI, record: ModelRecord) -> None:
    tags: Tags = ["TensorFlow Serving"]

    @app.post(
        f"{MODEL}:predict",
        tags=tags,
        summary="Which landmarks do these photos show?",
        openapi_extra=messages.describe_json(),
    )
    async def predict(request: Request, top: Top = 3) -> Predictions:
        body, working = await messages.parse_json(request), _service(request)
        count, most = len(body.instances), working.limits.instances
        if count > most:
            raise HTTPException(413, f"instances: {count} photos, at most {most} per request")
        photos = [instance.b64 for instance in body.instances]
        return Predictions(predictions=await working.predict(photos, "instances", top))

    @app.get(MODEL, tags=tags, summary="Is the model available?")
    async def status() -> dict[str, Any]:
        version = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [version]}

    @app.get(f"{MODEL}/metadata", tags=tags, summary="Which model predicts, and what it was made with")
    async def metadata() -> dict[str, Any]:
        spec = {"name": "landmarks", "signature_name": "", "version": "1"}
        return {"model_spec": spec, "metadata": dataclasses.asdict(record)}


def _add_forms(app: FastAPI) -> None:
    tags: Tags = ["forms"]
    file = {"type": "string", "format": "binary", "description": "A JPEG, PNG, WebP or BMP"}

    @app.post(
        "/v1/photos",
        tags=tags,
        summary="Which landmarks do these files show?",
        openapi_extra=messages.describe_form({"type": "array", "items": file, "minItems": 1}),
    )
    async def photos(request: Request, top: Top = 3) -> Predictions:
        working = _service(request)
        files = await messages.parse_form(request, working.limits.instances)
        return Predictions(predictions=await working.predict(files, "photo", top))

    @app.post(
        "/v1/explain",
        tags=tags,
        summary="Where the network looks, and similar training photos",
        openapi_extra=messages.describe_form(file),
    )
    async def explain(request: Request, top: Top = 10) -> Explanation:
        working = _service(request)
        files = await messages.parse_form(request, working.limits.instances)
        if len(files) > 1:
            raise HTTPException(413, f"photo: {len(files)} files, one is explained at a time")
        return await working.explain(files[0], top)
