"""What a server does with photos: predicts them together, explains one, looks for similar ones."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.deep import classifier, occlusion
from landmarks.serving.batching import Batcher, Row
from landmarks.serving.messages import Explanation, Likeness
from landmarks.serving.middleware import Limits, Metrics
from landmarks.serving.predictor import Prediction, Predictor
from landmarks.serving.similar import Training

CELLS = 8  # of the map a side
SIMILAR, SMALL = 5, 240  # photos, and their long side in pixels
REASONS = {
    "not a photo": (415, "not a photo: JPEG, PNG, WebP and BMP are read"),
    "html": (415, "not a photo but a page of HTML"),
    "truncated": (422, "truncated: the photo ends before its last line, or is damaged"),
    "does not decode": (422, "damaged: the photo does not decode"),
    "too large": (413, "too many pixels"),
    "too many scans": (413, "too many scans: save it again as a plain JPEG"),
}


@dataclasses.dataclass(frozen=True)
class Service:
    """What answers: the predictor, photos of concurrent requests together, and the training photos where they are there."""

    predictor: Predictor
    limits: Limits
    metrics: Metrics
    decoders: ThreadPoolExecutor
    aside: ThreadPoolExecutor  # explanations: one at a time, beside the answers
    batcher: Batcher
    training: Future[Training | None]

    async def row(self, content: bytes) -> tuple[NDArray[np.uint8], Row]:
        """One photo as the network sees it; vector and probabilities. Raises ``InputError`` if it is none."""
        loop, most = asyncio.get_running_loop(), int(self.limits.megapixels * 1e6)
        with self.batcher.coming():
            square = await loop.run_in_executor(self.decoders, self.predictor.square, content, most)
        return square, await self.batcher(square)

    async def rows(self, contents: Sequence[bytes], name: str) -> list[tuple[NDArray[np.uint8], Row]]:
        """The same of several. Raises ``HTTPException`` at the first that is no photo; ``name`` is what they are called."""
        found = await asyncio.gather(*map(self.row, contents), return_exceptions=True)
        fine = []
        for number, row in enumerate(found):
            if isinstance(row, InputError):
                self.metrics.photos.labels("refused").inc()
                code, reason = REASONS.get(str(row), (422, str(row)))
                limit = f": at most {self.limits.megapixels:g} million" if str(row) == "too large" else ""
                raise HTTPException(code, f"{name}[{number}]: {reason}{limit}")
            if isinstance(row, BaseException):
                raise row
            fine.append(row)
        return fine

    async def predict(self, contents: Sequence[bytes], name: str, top: int) -> list[Prediction]:
        """What each photo shows."""
        said = [self.predictor.answer(shares, top) for _, (_, shares) in await self.rows(contents, name)]
        for prediction in said:
            self.metrics.photos.labels("known" if prediction.known else "unknown").inc()
        return said

    async def explain(self, content: bytes, top: int) -> Explanation:
        """What a photo shows, and why."""
        ((square, (vector, shares)),) = await self.rows([content], "photo")
        training = await asyncio.wrap_future(self.training)
        prediction = self.predictor.answer(shares, top)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.aside, self._explained, square, vector, prediction, training)

    def _explained(
        self, square: NDArray[np.uint8], vector: NDArray[np.float32], prediction: Prediction, training: Training | None
    ) -> Explanation:
        network, label = self.predictor.network, prediction.top[0].label
        _, drops = occlusion.drops(
            lambda shown: self.predictor.run(shown)[1], square, network.labels.index(label), CELLS
        )
        alike = [
            Likeness(
                id=photo,
                label=landmark,
                name=self.predictor.name(landmark),
                cosine=round(cosine, 4),
                jpeg=base64.b64encode(small).decode(),
            )
            for photo, landmark, cosine, small in (training.nearest(vector, SIMILAR, SMALL) if training else ())
        ]
        return Explanation(
            prediction=prediction,
            label=label,
            crop=network.recipe.crop,
            drops=drops.astype(float).round(4).tolist(),
            similar=alike,
        )


@contextlib.asynccontextmanager
async def running(
    predictor: Predictor, limits: Limits, metrics: Metrics, learn: Callable[[], Training | None]
) -> AsyncIterator[Service]:
    """A service at work; at the end of the block it finishes what it has begun. ``learn`` is called beside the first answers."""
    cv2.setNumThreads(1)  # photos are decoded side by side
    with (
        ThreadPoolExecutor(parallel.workers(), "decode") as decoders,
        ThreadPoolExecutor(1, "aside") as aside,
    ):
        batcher = Batcher(predictor.run, max(parallel.workers() // 2, 1), classifier.BLOCK, metrics.batch.observe)
        training = aside.submit(learn)
        async with batcher.working():
            yield Service(predictor, limits, metrics, decoders, aside, batcher, training)
