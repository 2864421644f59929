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
from landmarks.common.files import sha256
from landmarks.common.result_cache import ResultCache, fingerprint
from landmarks.common.status import Status
from landmarks.download import storage
from landmarks.download.fetcher import Answer, Fetcher, FetchSettings
from landmarks.images import decoding

RETRY = "LANDMARKS_RETRY"  # an environment variable: ask again for photos that failed in an earlier run
COLUMNS = ("id", "url", "landmark_id", "reserve")  # of a sample
Row = dict[str, str]


@dataclass
class Collection:
    """The photos of a sample in a folder, and the answer for each.

    The result is the first photos of each landmark, in the order of the sample, that can be fetched: each failure brings in
    the next photo of the same landmark's reserve, in whatever order the answers arrive.

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

    def collect(self, transports: Mapping[str, BaseAdapter] | None = None) -> None:
        """Fetch the photos that are not in the folder yet. ``transports``: see ``Fetcher``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        by_landmark: dict[str, list[Row]] = {}
        for values in self.sample[list(COLUMNS)].to_numpy().tolist():
            row: Row = dict(zip(COLUMNS, values, strict=True))
            by_landmark.setdefault(row["landmark_id"], []).append(row)
        chosen = [row for group in by_landmark.values() for row in group if row["reserve"] == "0"]
        reserves = {name: [row for row in group[::-1] if row["reserve"] != "0"] for name, group in by_landmark.items()}
        tars = storage.Tars(self.settings.tars, self.sample["id"] if self.settings.tars else ())
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
                self.answers[answer.id] = answer
                if answer.status == Status.OK:
                    yield answer
                else:
                    failed.append(answer.landmark_id)
            if open_requests and not failed:
                item = fetcher.answers.get()
                if isinstance(item, BaseException):
                    raise item
                open_requests -= 1
                self.answers[item.id] = item
                if item.status == Status.OK:
                    yield item
                else:
                    failed.append(item.landmark_id)
            rows = [reserves[landmark].pop() for landmark in failed if reserves[landmark]]

    def _remembered(self, row: Row, earlier: Answer | None, retry: bool) -> Answer | None:
        """Return the answer of an earlier run, if it still holds."""
        for answer in (self._cached(row["id"], row["url"], ok=True), earlier):
            if answer and answer.status == Status.OK and self._would_be_same(answer) and self._in_folder(answer):
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
        path = self.folder / f"{answer.id}.jpg"
        return path.is_file() and sha256(path) == answer.sha256

    def result(self) -> list[Answer]:
        """Return the answers in the order of the sample, with what each photo replaces and whose bytes it has."""
        chosen = set(self.sample["id"][self.sample["reserve"] == "0"])
        answers = [self.answers[photo] for photo in self.sample["id"] if photo in self.answers]
        lost: dict[str, list[str]] = {}
        for answer in answers:
            if answer.status != Status.OK:
                lost.setdefault(answer.landmark_id, []).append(answer.id)
        by_content: dict[str, str] = {}
        result = []
        for answer in answers:
            if answer.status == Status.OK:
                same = by_content.setdefault(answer.sha256, answer.id)
                losses = lost.get(answer.landmark_id, [])
                answer = dataclasses.replace(
                    answer,
                    same_as=same if same != answer.id else "",
                    replaces=losses.pop(0) if answer.id not in chosen and losses else "",
                )
            result.append(answer)
        return result

    def so_far(self) -> list[Answer]:
        """Return all that is known when a run is interrupted: its own answers and those of the last table."""
        answers = [*self.earlier, *self.answers.values()]
        return list({(answer.id, answer.asked): answer for answer in answers}.values())

    def prune_folder(self) -> None:
        """Remove the files that are not part of the result."""
        kept = {f"{answer.id}.jpg" for answer in self.answers.values() if answer.status == Status.OK}
        for file in self.folder.iterdir():
            if file.name not in kept:
                file.unlink()

    def prune_cache(self, failures: bool) -> None:
        """Remove the answers that are not part of the result, and without ``failures`` those as well."""
        self.cache.prune(
            self._key(answer.id, answer.asked, ok=answer.status == Status.OK)
            for answer in self.answers.values()
            if failures or answer.status == Status.OK
        )
