"""The work behind the HTTP routes: batched predictions, explanations, similar photos."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from landmarks.common import parallel
from landmarks.common.status import OTHER_FORMATS, Status, StatusError
from landmarks.deep import classifier, occlusion
from landmarks.serving.batching import Batcher
from landmarks.serving.limits import RequestLimits
from landmarks.serving.messages import Explanation
from landmarks.serving.metrics import ServerMetrics
from landmarks.serving.photo_index import PhotoIndex
from landmarks.serving.predictor import Prediction, Predictor

MAP_SIDE = 8  # places of the occlusion map a side
PHOTO_ERRORS = {  # by the status that Predictor.preprocess gives: status code, message
    Status.NOT_A_PHOTO: (415, "not a photo: JPEG, PNG, WebP and BMP are read"),
    **{other: (415, f"{other.upper()}: JPEG, PNG, WebP and BMP are read") for other in OTHER_FORMATS},
    Status.HTML: (415, "not a photo but a page of HTML"),
    Status.TRUNCATED: (422, "truncated: the photo ends before its last line, or is damaged"),
    Status.DOES_NOT_DECODE: (422, "damaged: the photo does not decode"),
    Status.TOO_SMALL: (422, "too few pixels: at least 8 a side"),
    Status.TOO_LARGE: (413, "too many pixels"),
    Status.TOO_MANY_SCANS: (413, "too many scans: save it again as a plain JPEG"),
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
    decoders: ThreadPoolExecutor
    explainer: ThreadPoolExecutor  # one explanation at a time, so that predictions stay fast
    batcher: Batcher
    photo_index: Future[PhotoIndex | None]

    async def predict(self, contents: Sequence[bytes], field: str, top: int) -> list[Prediction]:
        """The prediction for each photo. Raises as ``evaluate``."""
        photos = await self.evaluate(contents, field)
        predictions = [self.predictor.to_prediction(photo.probabilities, top) for photo in photos]
        for prediction in predictions:
            self.metrics.photos.labels("known" if prediction.known else "unknown").inc()
        return predictions

    async def explain(self, content: bytes, top: int) -> Explanation:
        """The prediction for a photo, where the network looks, and similar training photos. Raises as ``evaluate``."""
        (photo,) = await self.evaluate([content], "photo")
        index = await asyncio.wrap_future(self.photo_index)
        return await asyncio.get_running_loop().run_in_executor(self.explainer, self._explain, photo, top, index)

    async def evaluate(self, contents: Sequence[bytes], field: str) -> list[Evaluated]:
        """Decode photos and pass them through the network.

        Raises ``HTTPException`` for the first one that does not decode; ``field`` is the part of the request it came in.
        """
        results = await asyncio.gather(*map(self._evaluate_one, contents), return_exceptions=True)
        photos = []
        for number, result in enumerate(results):
            if isinstance(result, StatusError):
                self.metrics.photos.labels("refused").inc()
                code, message = PHOTO_ERRORS.get(result.status, (422, str(result)))
                limit = f": at most {self.limits.megapixels:g} million" if result.status == Status.TOO_LARGE else ""
                raise HTTPException(code, f"{field}[{number}]: {message}{limit}")
            if isinstance(result, BaseException):
                raise result
            photos.append(result)
        return photos

    async def _evaluate_one(self, content: bytes) -> Evaluated:
        loop, max_pixels = asyncio.get_running_loop(), int(self.limits.megapixels * 1e6)
        with self.batcher.preparing():
            picture = await loop.run_in_executor(self.decoders, self.predictor.preprocess, content, max_pixels)
        return Evaluated(picture, *await self.batcher(picture))

    def _explain(self, photo: Evaluated, top: int, index: PhotoIndex | None) -> Explanation:
        prediction = self.predictor.to_prediction(photo.probabilities, top)
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
    predictor: Predictor, limits: RequestLimits, metrics: ServerMetrics, build_index: Callable[[], PhotoIndex | None]
) -> AsyncIterator[PredictionService]:
    """A service that works while the block runs, and then finishes what it has begun.

    ``build_index`` is called on a thread while the first requests are answered; explanations wait for it.
    """
    cv2.setNumThreads(1)  # several photos are decoded at once, one on each thread
    cores = parallel.workers()
    with ThreadPoolExecutor(cores, "decode") as decoders, ThreadPoolExecutor(1, "explain") as explainer:
        batcher = Batcher(predictor.forward, max(cores // 2, 1), classifier.BLOCK, metrics.batch_size.observe)
        async with batcher.running():
            yield PredictionService(
                predictor=predictor, limits=limits, metrics=metrics, decoders=decoders, explainer=explainer,
                batcher=batcher, photo_index=explainer.submit(build_index),
            )  # fmt: skip
