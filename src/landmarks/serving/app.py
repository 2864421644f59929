"""The HTTP application: TensorFlow Serving's row format, forms, and a page for people."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware

from landmarks.common.errors import InputError
from landmarks.dataset.places import Place
from landmarks.serving import messages, service
from landmarks.serving.bodies import error_response
from landmarks.serving.limits import RequestLimits
from landmarks.serving.messages import Error, Explanation, Kept, KnownPlaces, Outputs, Predictions, SamplePhoto, Samples
from landmarks.serving.metrics import ServerMetrics
from landmarks.serving.middleware import LimitMiddleware
from landmarks.serving.predictor import Predictor
from landmarks.serving.samples import Sample, kept_thumbnail
from landmarks.serving.service import BuildIndex, PredictionService

if TYPE_CHECKING:
    from landmarks.serving.feedback import FeedbackFolder  # whose gate a server without it does not load

Tags = list[str | Enum]
Top = Annotated[int, Query(ge=1, le=100, description="How many of the most probable landmarks are listed per photo")]

MODEL, VERSION = "/v1/models/landmarks", "1"
LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")  # this machine: as addresses, and as a Host without its port
LINES = "application/x-ndjson"
PAGE = Path(__file__).with_name("page.html")
STYLE = "/* page.css */"  # stands in it for that file
# The page is sent as one file with its own style and script, and shows photos that the visitor chose
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def create_app(
    predictor: Predictor,
    limits: RequestLimits,
    key: str = "",
    hosts: Sequence[str] = LOOPBACK,
    build_index: BuildIndex = lambda _: None,
    samples: Sequence[Sample] = (),
    feedback: "FeedbackFolder | None" = None,
    tested: Iterable[tuple[float, float]] = (),
) -> FastAPI:
    """The ASGI application.

    ``key`` is the API key that requests must carry; empty: none. ``hosts`` are the names under which the server may be asked;
    ``*`` is any. A web page could otherwise give its own name the server's address and read what the server answers (DNS
    rebinding). ``build_index`` returns the index of training photos, or None, while the first requests are answered.
    ``samples`` are photos that everybody may see. ``feedback`` keeps photos and what people said of them; None: nothing is kept.
    ``tested`` has confidence and megapixels of each test photo, beside whose histograms are those of the photos that come.
    """
    metrics = ServerMetrics()
    for confidence, megapixels in tested:
        metrics.test_confidence.observe(confidence)
        metrics.test_megapixels.observe(megapixels)
    MultiPartParser.spool_max_size = int(limits.megabytes * 1e6)  # uploads stay in memory, none is written to disk

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running(predictor, limits, metrics, build_index) as app.state.service:
            yield

    app = FastAPIOffline(
        title="Landmarks",
        version="1",
        description=f"Which landmark is in the photo? No photo is stored{', unless sent as feedback' * bool(feedback)}.",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        responses={code: {"model": Error} for code in (400, 401, 408, 413, 415, 422, 429, 503)},
    )
    app.add_middleware(LimitMiddleware, limits=limits, key=key, metrics=metrics)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    _add_error_handlers(app)
    _add_page(app)
    schemes = HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)
    secured = APIRouter(dependencies=[Security(scheme) for scheme in schemes] if key else [])  # LimitMiddleware checks
    _add_operation(app, secured, metrics)
    for path in (MODEL, f"{MODEL}/versions/{VERSION}"):
        _add_tensorflow_serving(secured, path, predictor, keeps=feedback is not None)
    _add_forms(secured)
    _add_places(secured, predictor, samples)
    if feedback:
        _add_feedback(secured, predictor, feedback)
    app.include_router(secured)
    return app


def _service(request: Request) -> PredictionService:
    return request.app.state.service


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the server failed; its log says why"}, 500)

    @app.exception_handler(RequestValidationError)
    async def invalid_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": messages.first_error(error.errors())}, 422)


def _add_page(app: FastAPI) -> None:
    content = PAGE.read_text(encoding="utf-8").replace(STYLE, PAGE.with_suffix(".css").read_text(encoding="utf-8"))

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(content, headers=HEADERS)


def _add_operation(app: FastAPI, secured: APIRouter, metrics: ServerMetrics) -> None:
    tags: Tags = ["operation"]

    @app.get("/health/live", tags=tags, summary="Is the process alive?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/health/ready", tags=tags, summary="Can it predict?")
    async def ready(request: Request) -> dict[str, bool]:
        if not _service(request).batcher.alive:
            raise HTTPException(503, "no thread is left that predicts; restart the server")
        return {"ready": True}  # the server listens only after the model is loaded

    @secured.get("/metrics", tags=tags, summary="Metrics for Prometheus", response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_tensorflow_serving(secured: APIRouter, path: str, predictor: Predictor, keeps: bool) -> None:
    tags: Tags = ["TensorFlow Serving"]

    @secured.post(
        f"{path}:predict",
        tags=tags,
        summary="Which landmarks do these photos show?",
        openapi_extra=messages.describe_json(),
    )
    async def predict(request: Request, top: Top = 3) -> Predictions | Outputs:
        body, working = await messages.parse_json(request), _service(request)
        field = "instances" if body.instances else "inputs"
        photos = [photo.b64 for photo in body.instances or body.inputs or ()]
        if len(photos) > working.limits.instances:
            raise HTTPException(413, f"{field}: {len(photos)} photos, at most {working.limits.instances} per request")
        answer = await working.predict(photos, field, top)
        return Predictions(predictions=answer) if body.instances else Outputs(outputs=answer)

    @secured.get(path, tags=tags, summary="Is the model available?")
    async def status() -> dict[str, Any]:
        version = {"version": VERSION, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [version]}

    @secured.get(f"{path}/metadata", tags=tags, summary="Which model predicts, and what it was made with")
    async def metadata() -> dict[str, Any]:
        spec = {"name": "landmarks", "signature_name": "", "version": VERSION}
        record = dataclasses.asdict(predictor.record)
        names = [predictor.display_name(label) for label in predictor.record.labels]
        return {
            "model_spec": spec,
            "metadata": {**record, "names": names, "feedback": keeps, "signature_def": messages.signature()},
        }


def _add_forms(secured: APIRouter) -> None:
    tags: Tags = ["forms"]
    file = {"type": "string", "format": "binary", "description": "A JPEG, PNG, WebP or BMP"}

    @secured.post(
        "/v1/photos",
        tags=tags,
        summary="Which landmarks do these files show?",
        openapi_extra=messages.describe_form({"type": "array", "items": file, "minItems": 1}),
    )
    async def photos(request: Request, top: Top = 3) -> Predictions:
        working = _service(request)
        files = await messages.parse_form(request, working.limits.instances)
        return Predictions(predictions=await working.predict(files, "photo", top))

    @secured.post(
        "/v1/explain",
        tags=tags,
        summary="Where the network looks, and similar training photos",
        description=f"With `Accept: {LINES}` the prediction comes at once, as a first line of JSON.",
        openapi_extra=messages.describe_form(file),
        response_model=Explanation,
    )
    async def explain(request: Request, top: Top = 10) -> Explanation | Response:
        working = _service(request)
        files = await messages.parse_form(request, working.limits.instances)
        if len(files) > 1:
            raise HTTPException(413, f"photo: {len(files)} files, one is explained at a time")
        (photo,) = await working.evaluate(files, "photo")
        (prediction,) = working.to_predictions([photo], top)
        if LINES not in request.headers.get("accept", ""):
            return await working.explain(photo, prediction)

        async def lines() -> AsyncIterator[str]:
            yield Predictions(predictions=[prediction]).model_dump_json() + "\n"
            yield (await working.explain(photo, prediction)).model_dump_json() + "\n"

        return StreamingResponse(lines(), media_type=LINES)


def _add_places(secured: APIRouter, predictor: Predictor, samples: Sequence[Sample]) -> None:
    tags: Tags = ["places"]
    paths = {sample.id: sample.path for sample in samples}

    @secured.get("/v1/places", tags=tags, summary="Which landmarks does the model know?")
    async def places() -> KnownPlaces:
        labels = predictor.record.labels
        return KnownPlaces(places=[predictor.places.get(label) or Place(id=label, name=label) for label in labels])

    @secured.get("/v1/samples", tags=tags, summary="Photos to try")
    def listed() -> Samples:  # on a thread: small copies are made the first time
        found = []
        for sample in samples:
            with contextlib.suppress(InputError, OSError):  # a file that is gone since
                found.append(
                    SamplePhoto(
                        id=sample.id, label=sample.label, name=sample.name, author=sample.author,
                        license=sample.license, url=sample.url, jpeg=kept_thumbnail(sample.path),
                    )
                )  # fmt: skip
        return Samples(samples=found)

    @secured.get(
        "/v1/samples/{sample}",
        tags=tags,
        summary="One of them",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 404: {"model": Error}},
    )
    def photo(sample: str) -> Response:
        try:
            return Response(paths[sample].read_bytes(), media_type="image/jpeg")
        except (KeyError, OSError):
            raise HTTPException(404, "no such photo") from None


def _add_feedback(secured: APIRouter, predictor: Predictor, feedback: "FeedbackFolder") -> None:
    from landmarks.serving.feedback import FullError

    file, text = {"type": "string", "format": "binary"}, {"type": "string"}
    fields = {"landmark": {**text, "description": "Id of the right landmark; empty: none of the model's"},
              "predicted": {**text, "description": "What the server answered"}}  # fmt: skip

    @secured.post(
        "/v1/feedback",
        tags=["feedback"],
        summary="Keep a photo, its faces obscured, and what is in it, for the next training",
        openapi_extra=messages.describe_form(file, fields),
        responses={409: {"model": Error}},
    )
    async def keep(request: Request) -> Kept:
        working = _service(request)
        photo, answer = await messages.parse_answer(request, predictor.record.labels)
        await working.evaluate([photo], "photo")  # refuses what is no photo, or too large
        try:
            loop = asyncio.get_running_loop()
            return Kept(id=await loop.run_in_executor(working.explainer, feedback.keep, photo, answer))
        except FullError as error:
            raise HTTPException(409, str(error)) from None
        except InputError as error:
            raise HTTPException(422, f"photo[0]: not kept: {error}") from None
