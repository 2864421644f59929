"""The work behind the HTTP routes: batched predictions, explanations, similar photos."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from landmarks.common import parallel
from landmarks.common.status import OTHER_FORMATS, Status, StatusError
from landmarks.deep import classifier, occlusion
from landmarks.images import decoding, formats
from landmarks.serving.batching import Batcher
from landmarks.serving.decoding_queue import DecodingQueue
from landmarks.serving.limits import RequestLimits
from landmarks.serving.messages import Explanation
from landmarks.serving.metrics import ServerMetrics
from landmarks.serving.photo_index import PhotoIndex
from landmarks.serving.predictor import Prediction, Predictor

BuildIndex = Callable[[Callable[[], bool]], PhotoIndex | None]
Result = TypeVar("Result")

MAP_SIDE = 8  # places of the occlusion map a side
PHOTO_ERRORS = {  # by the status that Predictor.preprocess gives: status code, message
    Status.NOT_A_PHOTO: (415, "not a photo: JPEG, PNG, WebP and BMP are read"),
    **{other: (415, f"{other.upper()}: JPEG, PNG, WebP and BMP are read") for other in OTHER_FORMATS},
    Status.HTML: (415, "not a photo but a page of HTML"),
    Status.TRUNCATED: (422, "truncated: the photo ends before its last line, or is damaged"),
    Status.DOES_NOT_DECODE: (422, "damaged: the photo does not decode"),
    Status.TOO_SMALL: (422, "too few pixels: at least 8 a side"),
    Status.TOO_LARGE: (413, "too many pixels"),
    Status.TOO_MANY_SCANS: (413, "too many scans or segments: save it again as a plain JPEG"),
}


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A photo as the network takes it, uint8 RGB (views * size, size, 3), and what the network returns: vector and probabilities."""

    picture: NDArray[np.uint8]
    vector: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class PredictionService:
    """The predictor with its threads: decoders, batches of concurrent requests, and one for explanations."""

    predictor: Predictor
    limits: RequestLimits
    metrics: ServerMetrics
    decoding: DecodingQueue
    explainer: ThreadPoolExecutor  # one explanation at a time, so that predictions stay fast
    batcher: Batcher
    photo_index: Future[PhotoIndex | None]

    async def predict(self, contents: Sequence[bytes], field: str, top: int) -> list[Prediction]:
        """The prediction for each photo. Raises as ``evaluate``."""
        return self.to_predictions(await self.evaluate(contents, field), top)

    def to_predictions(self, photos: Sequence[Evaluated], top: int) -> list[Prediction]:
        """The prediction for each photo that was evaluated."""
        predictions = [self.predictor.to_prediction(photo.probabilities, top) for photo in photos]
        for prediction in predictions:
            self.metrics.photos.labels("known" if prediction.known else "unknown").inc()
            self.metrics.confidence.observe(prediction.confidence)
        return predictions

    async def explain(self, photo: Evaluated, prediction: Prediction) -> Explanation:
        """A prediction, where the network looks, and similar training photos once their index is built."""
        index = self.photo_index.result() if self.photo_index.done() else None
        return await asyncio.get_running_loop().run_in_executor(self.explainer, self._explain, photo, prediction, index)

    async def evaluate(self, contents: Sequence[bytes], field: str) -> list[Evaluated]:
        """Decode photos and pass them through the network.

        Raises ``HTTPException`` if together they have too many pixels, else for the first one that does not decode; ``field``
        is the part of the request that they came in.
        """
        sizes = await asyncio.to_thread(lambda: [self._pixels(content) for content in contents])
        pixels = self._checked(sizes, field)
        most = self.limits.megapixels_request
        if sum(pixels) > most * 1e6:
            raise HTTPException(413, f"{field}: the photos together have more than {most:g} million pixels; send fewer")
        for count in pixels:
            self.metrics.megapixels.observe(count / 1e6)
        work = map(self._evaluate_one, contents, pixels)
        return self._checked(await asyncio.gather(*work, return_exceptions=True), field)

    def _checked(self, results: Sequence[Result | BaseException], field: str) -> list[Result]:
        """The results, one for each photo. Raises ``HTTPException`` if one is the error of a photo, other errors as they are."""
        for result in results:
            if isinstance(result, StatusError):  # or the photos in its frames would stay until Python looks for cycles
                result.__traceback__ = result.__context__ = None
        for number, result in enumerate(results):
            if isinstance(result, StatusError):
                self.metrics.photos.labels("refused").inc()
                code, message = PHOTO_ERRORS.get(result.status, (422, str(result)))
                largest = f"{self.limits.megapixels:g} million in a JPEG, {self.limits.megapixels_other:g} in others"
                limit = f": at most {largest}" if result.status == Status.TOO_LARGE else ""
                raise HTTPException(code, f"{field}[{number}]: {message}{limit}")
            if isinstance(result, BaseException):
                raise result
        return cast("list[Result]", results)

    def _pixels(self, content: bytes) -> int | StatusError:
        """Width times height of a photo, from its head; the error if it has none, or if they are too many."""
        most = self.limits.megapixels if formats.read_format(content) == "JPEG" else self.limits.megapixels_other
        try:
            width, height = decoding.header(content, int(most * 1e6)).size
        except StatusError as error:
            return error
        return width * height

    async def _evaluate_one(self, content: bytes, pixels: int) -> Evaluated:
        with self.batcher.preparing():
            share = pixels if formats.read_format(content) == "JPEG" else 2 * pixels  # which is decoded at full size
            picture = await self.decoding(share, partial(self.predictor.preprocess, content, pixels))
        return Evaluated(picture, *await self.batcher(picture))

    def _explain(self, photo: Evaluated, prediction: Prediction, index: PhotoIndex | None) -> Explanation:
        network, label = self.predictor.network, prediction.top[0].label
        _, drops = occlusion.drops(
            lambda pictures: self.predictor.forward(pictures)[1], photo.picture, network.labels.index(label), MAP_SIDE
        )
        return Explanation(
            prediction=prediction,
            label=label,
            crop=network.preprocessing.crop,
            drops=drops.astype(float).round(4).tolist(),
            similar=index.nearest(photo.vector, self.predictor.display_name) if index else [],
        )


@contextlib.asynccontextmanager
async def running(
    predictor: Predictor, limits: RequestLimits, metrics: ServerMetrics, build_index: BuildIndex
) -> AsyncIterator[PredictionService]:
    """A service that works while the block runs, and then finishes what it has begun.

    ``build_index`` is called on a thread while the first requests are answered, and asks its argument whether it should end.
    """
    cv2.setNumThreads(1)  # several photos are decoded at once, one on each thread
    cores, ending = parallel.workers(), threading.Event()
    queue = DecodingQueue(cores, int(limits.megapixels_at_once * 1e6))
    batcher = Batcher(predictor.forward, max(cores // 2, 1), classifier.BLOCK, metrics.batch_size.observe)
    with ThreadPoolExecutor(1, "explain") as explainer, ThreadPoolExecutor(1, "index") as indexer:
        async with batcher.running(), queue.running():
            try:
                yield PredictionService(
                    predictor=predictor, limits=limits, metrics=metrics, decoding=queue, explainer=explainer,
                    batcher=batcher, photo_index=indexer.submit(build_index, ending.is_set),
                )  # fmt: skip
            finally:
                ending.set()
                explainer.shutdown(wait=False, cancel_futures=True)
