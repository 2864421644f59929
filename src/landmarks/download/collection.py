"""The photos of a sample: which are fetched, which replace the expired ones, and what earlier runs already found out."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
from requests.adapters import BaseAdapter

from landmarks.common import parallel, progress
from landmarks.common.files import whole
from landmarks.common.result_cache import ResultCache, fingerprint
from landmarks.common.status import Status
from landmarks.dataset import schema
from landmarks.download import archives, storage
from landmarks.download.fetcher import Answer, Fetcher, FetchSettings
from landmarks.images import decoding, photo_store
from landmarks.images.photo_store import PhotoStore, sha256

RETRY = "LANDMARKS_RETRY"  # an environment variable: ask again for photos that failed in an earlier run
COLUMNS = ("id", "url", "landmark_id", "reserve")  # of a sample
EXTERNAL = ""  # stands among landmarks for any of the external test
Row = dict[str, str]


@dataclass
class Collection:
    """The photos of a sample in a folder, and the answer for each.

    The result is the first photos of each landmark, in the order of the sample, that can be fetched: each failure brings in
    the next photo of the same landmark's reserve, in whatever order the answers arrive.

    The same bytes again are a failure: of one landmark's photos with the same bytes the first counts, and under two
    landmarks none of them, because such bytes are a placeholder, or show neither landmark for sure. Photos of the external test
    are a source of their own: what becomes of them changes nothing for the others, and nothing replaces them.

    Every finished photo goes to ``cache`` at once, so that a killed run resumes. A photo that is still in the folder, to
    the byte, is not fetched again, nor is one that failed under the same settings, unless the environment variable
    LANDMARKS_RETRY is set.
    """

    sample: pd.DataFrame  # one row a photo, strings, COLUMNS; reserve "0" marks those that are fetched first
    folder: Path  # of the photos
    settings: FetchSettings
    cache: ResultCache  # answers of earlier runs
    earlier: Iterable[Answer] = ()  # answers in the table of the last run
    answers: dict[str, Answer] = field(default_factory=dict)  # of this run, by id
    asked: int = 0  # photos that were fetched in this run, in vain or not
    by_content: dict[str, list[str]] = field(
        default_factory=dict
    )  # landmarks of the photos with the same bytes, by SHA-256

    def collect(self, transports: Mapping[str, BaseAdapter] | None = None) -> None:
        """Fetch the photos that are not in the folder yet. ``transports``: see ``Fetcher``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        by_landmark: dict[tuple[bool, str], list[Row]] = {}
        for values in self.sample[list(COLUMNS)].to_numpy().tolist():
            row: Row = dict(zip(COLUMNS, values, strict=True))
            by_landmark.setdefault((schema.is_external(row["id"]), row["landmark_id"]), []).append(row)
        chosen = [row for group in by_landmark.values() for row in group if row["reserve"] == "0"]
        reserves = {
            name: [row for row in group[::-1] if row["reserve"] != "0"]
            for (external, name), group in by_landmark.items()
            if not external
        }
        wanted = self.sample["id"].tolist() if self.settings.tars else []
        tars = storage.Tars(archives.kept(self.settings.tars, wanted, self.cache.path.with_name("tars")), wanted)
        with Fetcher(self.folder, self.settings, tars=tars, transports=transports, record=self._record) as fetcher:
            for _ in progress.over(self._photos(fetcher, chosen, reserves), len(chosen), "download"):
                pass

    def _photos(self, fetcher: Fetcher, rows: list[Row], reserves: dict[str, list[Row]]) -> Iterator[Answer]:
        """Yield every photo once it is in the folder; ``reserves`` hold the rows of each landmark, the next one last."""
        retry = bool(parallel.environment(RETRY))
        earlier = {(answer.id, answer.asked): answer for answer in self.earlier}
        open_requests = 0
        while rows or open_requests:
            failed: list[str] = []
            for row in rows:
                answer = self._remembered(row, earlier.get((row["id"], row["url"])), retry)
                if answer is None:
                    fetcher.add(row)
                    open_requests, self.asked = open_requests + 1, self.asked + 1
                    continue
                lost = self._note(answer)
                failed += lost
                if not lost:
                    yield answer
            if open_requests and not failed:
                item = fetcher.answers.get()
                if isinstance(item, BaseException):
                    raise item
                open_requests -= 1
                failed = self._note(item)
                if not failed:
                    yield item
            rows = [reserves[landmark].pop() for landmark in failed if reserves.get(landmark)]

    def _note(self, answer: Answer) -> list[str]:
        """Keep an answer. Return the landmarks that lack a photo by it: its own, and that of a photo with the same bytes."""
        self.answers[answer.id] = answer
        external = schema.is_external(answer.id)
        if answer.status != Status.OK:
            return [] if external else [answer.landmark_id]
        landmarks = self.by_content.setdefault(answer.sha256, [])
        before = set(landmarks) - {EXTERNAL}
        landmarks.append(EXTERNAL if external else answer.landmark_id)
        if external:
            return []
        if len(before) == 1 and answer.landmark_id not in before:
            return [*before, answer.landmark_id]  # until now, the first of them counted
        return [answer.landmark_id] if before else []

    def _remembered(self, row: Row, earlier: Answer | None, retry: bool) -> Answer | None:
        """Return the answer of an earlier run, if it still holds."""
        for answer in (self._cached(row["id"], row["url"], ok=True), earlier):
            if answer and answer.status == Status.OK and self._would_be_same(answer):
                if not self._in_folder(answer) and (retry or not self._restore(answer)):
                    continue
                return dataclasses.replace(answer, landmark_id=row["landmark_id"], same_as="", replaces="")
        failed = None if retry else self._cached(row["id"], row["url"], ok=False)
        return dataclasses.replace(failed, landmark_id=row["landmark_id"]) if failed else None

    def _cached(self, photo: str, url: str, ok: bool) -> Answer | None:
        content = self.cache.get(self._key(photo, url, ok))
        try:
            return Answer.from_values(json.loads(content)) if content else None
        except (TypeError, ValueError):
            return None  # written by another version

    def _record(self, answer: Answer) -> None:
        key = self._key(answer.id, answer.asked, ok=answer.status == Status.OK)
        self.cache.put(key, json.dumps(dataclasses.asdict(answer)).encode())

    def _key(self, photo: str, url: str, ok: bool) -> str:
        """The key of an answer. A failure holds only under the settings that led to it; of photos ``_would_be_same`` decides."""
        return json.dumps(["ok" if ok else self._settings, photo, url])

    @cached_property
    def _settings(self) -> str:
        return fingerprint(dataclasses.asdict(self.settings))

    def _would_be_same(self, answer: Answer) -> bool:
        """Return whether the photo would be fetched and stored as it was, under today's settings."""
        settings, pixels = self.settings, answer.original_width * answer.original_height
        size = decoding.scaled_size(answer.original_width, answer.original_height, settings.long_side)
        widths = {candidate.width for candidate in settings.candidates(answer.asked)}
        small_enough = answer.bytes <= settings.megabytes * 1e6 and pixels <= settings.megapixels * 1e6
        return small_enough and (answer.width, answer.height) == size and answer.width_asked in widths

    def _in_folder(self, answer: Answer) -> bool:
        return answer.id in self._store and sha256(self._store[answer.id]) == answer.sha256

    @cached_property
    def _store(self) -> PhotoStore:
        return PhotoStore(self.folder, remote=False)

    def _restore(self, answer: Answer) -> bool:
        """Put a duplicate of an earlier run back into the folder, until it is known whether it still is one."""
        content = self.cache.get(_content_key(answer.sha256))
        if content is None:
            return False
        with whole(self.folder / f"{answer.id}.jpg") as partial:
            partial.write_bytes(content)
        return True

    def result(self) -> list[Answer]:
        """Return the answers in the order of the sample, with what each photo replaces and whose bytes it has."""
        chosen = set(self.sample["id"][self.sample["reserve"] == "0"])
        answers = _mark_duplicates([self.answers[photo] for photo in self.sample["id"] if photo in self.answers])
        lost: dict[str, list[str]] = {}
        for answer in answers:
            if answer.status != Status.OK and not schema.is_external(answer.id):
                lost.setdefault(answer.landmark_id, []).append(answer.id)
        result = []
        for answer in answers:
            losses = lost.get(answer.landmark_id)
            if answer.status == Status.OK and answer.id not in chosen and losses:
                answer = dataclasses.replace(answer, replaces=losses.pop(0))
            result.append(answer)
        return result

    def so_far(self) -> list[Answer]:
        """Return all that is known when a run is interrupted: its own answers and those of the last table."""
        answers = [*self.earlier, *self.answers.values()]
        return list({(answer.id, answer.asked): answer for answer in answers}.values())

    def arrange_folder(self, shard: int) -> None:
        """Leave the result in the folder and nothing else, as ``photo_store.arrange`` does.

        Duplicates go to the cache: the next run asks for none of them.
        """
        answers, cached = self.result(), set[str]()
        for answer in answers:
            if answer.status == Status.DUPLICATE and answer.sha256 not in cached and answer.id in self._store:
                self.cache.put(_content_key(answer.sha256), self._store[answer.id].read_bytes())
                cached.add(answer.sha256)
        photo_store.arrange(
            self.folder, [answer.id for answer in answers if answer.status == Status.OK], shard, remote=False
        )

    def prune_cache(self, failures: bool) -> None:
        """Remove the answers that are not part of the result, and without ``failures`` those as well."""
        kept = {
            self._key(answer.id, answer.asked, ok=answer.status == Status.OK)
            for answer in self.answers.values()
            if failures or answer.status == Status.OK
        }
        self.cache.prune(kept | {_content_key(sha) for sha, landmarks in self.by_content.items() if len(landmarks) > 1})


def _mark_duplicates(answers: list[Answer]) -> list[Answer]:
    """Return the answers, those of photos that do not count because of their bytes with the status ``DUPLICATE``."""
    twins: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.status == Status.OK:
            twins.setdefault(answer.sha256, []).append(answer)
    same_as: dict[str, str] = {}
    for first, *others in twins.values():
        same_as |= {other.id: first.id for other in others}
        external = schema.is_external(first.id)
        rivals = [other for other in others if schema.is_external(other.id) == external]
        if any(other.landmark_id != first.landmark_id for other in rivals):
            same_as[first.id] = rivals[0].id
    return [
        dataclasses.replace(answer, status=Status.DUPLICATE, same_as=same_as[answer.id])
        if answer.id in same_as
        else answer
        for answer in answers
    ]


def _content_key(sha256: str) -> str:
    """The key of the bytes of duplicates, which are not in the folder."""
    return json.dumps(["content", sha256])
