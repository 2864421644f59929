"""Can the experiment run? Everything that stands in the way, in one list, before anything is downloaded.

The first stage. The others check what they are given when they run; this one asks the same of what is planned.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import catalogue
import stage
from landmarks.common import knobs
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.common.result_cache import ResultCache, fingerprint, path_for
from landmarks.common.status import Status, StatusError
from landmarks.dataset import catalogues, place_tables, sampling, schema, splitting, table_files

if TYPE_CHECKING:
    from landmarks.download.fetcher import FetchSettings

Params = dict[str, Any]  # the content of params.yaml

BACKBONE = "data/demo/backbone"  # comes with the repository: no need to try it
LEAST = {
    "sample.classes": 2, "sample.per_class": 1, "sample.reserve": 0, "sample.unknown": 0, "sample.seed": 0,
    "sweep.start": 1, "sweep.stop": 2, "sweep.step": 1, "sweep.folds": 2, "grid.folds": 2,
}  # fmt: skip
DEMO = "demo://"
REMOTE = ("http://", "https://")
ATTRIBUTION = ("id", "url", "author", "license", "title")
HOSTS = 3  # as many are asked, those of most photos
SECONDS = 10.0  # that a host may take
SILENT = (Status.UNREACHABLE, Status.TOO_SLOW, Status.PRIVATE_ADDRESS)
NO_FILE = (Status.GONE, Status.REFUSED)
NO_FILE_REMEDY = "relative paths start in the folder of dvc.yaml"
NONE_EXTERNAL = "data/external.csv"  # comes with the repository: a table without rows
LATEST = Path("data/download.csv")  # what earlier runs of the stage download found out


@dataclass(frozen=True)
class Finding:
    """What stands in the way: a parameter, and the value nearest to its own that is possible, where there is one."""

    parameter: str
    problem: str
    possible: Any = None

    def __str__(self) -> str:
        """One line."""
        return f"{self.parameter}: {self.problem}"


def main(report: Annotated[Path, "JSON to write when nothing stands in the way; it never differs"]) -> str:
    """Find everything in params.yaml and its catalogue that would end the run later.

    Numbers of photos, components and folds out of bounds, landmarks and photos that are not there, schemes that are not allowed, hosts that do not
    answer, components and folds that so many photos don't give, a backbone that does not load.
    """
    with ResultCache(path_for(report)) as known:
        found = list(findings(stage.params(), known))
    for finding in found:
        print(f"preflight: {finding}", file=sys.stderr)
    if found:
        raise InputError("nothing else ran; set what is named above in params.yaml, then the same command again")
    write_json(report, {"problems": []})
    return "nothing stands in the way"


def findings(params: Params, known: ResultCache) -> Iterator[Finding]:
    """All that is wrong. Backbones that loaded are noted in ``known`` and not tried again."""
    yield from _references(params)
    yield from _attribution(params["cards"]["attribution"])
    yield from _names(params["catalogue"]["names"])
    yield from plan(params)
    yield from _backbone(params["cnn"], known)


def plan(params: Params) -> Iterator[Finding]:
    """What is wrong with the catalogue, and with the numbers of photos, components and folds."""
    unsound = list(_unsound(params))
    yield from unsound
    if not unsound:
        found, landmarks, photos = _catalogue(params)
        yield from found
        yield from _training(params, landmarks, photos)


def _unsound(params: Params) -> Iterator[Finding]:
    """Numbers that are none, or out of bounds: the checks behind this one count on them."""
    for name, bound in {**LEAST, **{f"pca.{name}": 0 for name in params["pca"]}}.items():
        block, knob = name.split(".")
        if type(value := params[block][knob]) is not int or value < bound:
            yield Finding(name, f"{value!r} is no whole number of {bound} or more", bound)
    shares = [params["split"][name] for name in ("test", "validation")]
    if not all(isinstance(share, float) and share > 0 for share in shares) or sum(shares) >= 1:
        yield Finding(
            "split.test", f"{shares[0]!r}, and split.validation {shares[1]!r}: two shares that leave some for training"
        )


def _references(params: Params) -> Iterator[Finding]:
    """Names of entries in other blocks."""
    for block, parts in (
        ("models", {"features": "features", "pca": "pca"}),
        ("ensembles", {"network": "networks", "model": "models"}),
    ):
        for name, entry in params[block].items():
            for part, named in parts.items():
                if (value := str(entry[part])) not in params[named] and not (named == "pca" and value.isdecimal()):
                    yield Finding(f"{block}.{name}.{part}", f"{value!r} is none of {named}: {', '.join(params[named])}")


def _attribution(source: str) -> Iterator[Finding]:
    """The table that the last stage but one reads."""
    if source and "://" not in source and not source.endswith((".yaml", ".yml")):
        try:
            with table_files.local(source, "cards.attribution") as file:
                schema.require(source, table_files.header(file), ATTRIBUTION)
        except InputError as error:
            yield Finding("cards.attribution", str(error))


def _names(source: str) -> Iterator[Finding]:
    """The table that says what landmarks are called; of one elsewhere, whether it answers."""
    try:
        if source.startswith(REMOTE):
            table_files.require(source, "catalogue.names")
        elif source:
            with table_files.local(source, "catalogue.names") as file:
                place_tables.columns(file)
    except (InputError, OSError) as error:
        yield Finding("catalogue.names", str(error))


def _catalogue(params: Params) -> tuple[list[Finding], int, int]:
    """What is wrong with the catalogue, and how many landmarks and photos of each there can be."""
    sample, source = params["sample"], params["catalogue"]["source"]
    asked = sample["classes"], sample["per_class"]
    try:
        if source.startswith(REMOTE) or params["catalogue"]["clean"]:
            for setting in ("source", "clean"):
                if params["catalogue"][setting]:
                    table_files.require(params["catalogue"][setting], f"catalogue.{setting}")
            return [], *asked  # the stages read it as it comes: it may have millions of rows
        column = landmarks_of(source)
    except (InputError, OSError) as error:
        return [Finding("catalogue.source", str(error))], *asked
    there = photos_of_each(column)
    if len(there) < LEAST["sample.classes"]:
        return [
            Finding("catalogue.source", f"{source} has photos of one landmark; two are needed to tell apart")
        ], *asked
    landmarks, photos = _possible(sample, there)
    chosen = pa.array(sampling.commonest(column, landmarks, photos))
    urls = [
        url
        for batch in _rows(source)
        for url in batch.filter(pc.is_in(batch["landmark_id"], chosen))["url"].to_pylist()
    ]
    wrong, elsewhere = _external(params["external"], source, chosen)
    return [*wrong, *_sample(sample, there), *_addresses(params["download"], [*urls, *elsewhere])], landmarks, photos


def _external(external: Params, catalogue: str, chosen: pa.Array) -> tuple[list[Finding], list[str]]:
    """What is wrong with the table of the external test, and the URLs of its photos of the ``chosen`` landmarks."""
    source, name = external["source"], "external.source"
    demo, ours = (text.endswith((".yaml", ".yml")) for text in (source, catalogue))
    if demo and not ours:
        problem = f"{source} shows none of your landmarks, but the demo dataset's; set it to a table of yours, or to {NONE_EXTERNAL}"
        return [Finding(name, problem, NONE_EXTERNAL)], []
    try:
        rows = list(_rows(source, name))
    except (InputError, OSError) as error:
        return [Finding(name, str(error))], []
    known = [batch.filter(pc.is_in(batch["landmark_id"], chosen)) for batch in rows]
    urls = [url for batch in known for url in batch["url"].to_pylist()]
    if not urls and any(batch.num_rows for batch in rows):
        examples = ", ".join(chosen.to_pylist()[:3])
        problem = (
            f"{source}: no row is of a landmark that is trained on ({examples} …); use the landmark_ids of {catalogue}"
        )
        return [Finding(name, problem)], []
    return [], urls


def landmarks_of(source: str) -> pa.ChunkedArray:
    """The landmark of each photo of a catalogue. Raises ``InputError`` if it is none, or has no complete row."""
    column = pa.chunked_array([batch["landmark_id"] for batch in _rows(source)], pa.string())
    if not len(column):
        raise InputError(f"{source}: every row has a null; give a catalogue with at least one complete row")
    return column


def photos_of_each(landmarks: pa.ChunkedArray) -> list[int]:
    """How many photos each landmark has, the most first."""
    return sorted((row["counts"] for row in pc.value_counts(landmarks).to_pylist()), reverse=True)


def _rows(source: str, setting: str = "catalogue.source") -> Iterator[pa.RecordBatch]:
    """The rows that the stage clean keeps."""
    with ExitStack() as stack:
        for batch in catalogue.rows(source, stack, True, setting, rows_needed=setting == "catalogue.source"):
            yield catalogues.clean(batch)[0]


def _possible(sample: Params, there: list[int]) -> tuple[int, int]:
    """How many landmarks there can be, with as many photos as asked for where some have them, and how many photos of each."""
    landmarks = sample["classes"]
    if landmarks > len(there):
        enough = sum(photos >= sample["per_class"] for photos in there)
        landmarks = enough if enough >= LEAST["sample.classes"] else len(there)
    return landmarks, min(sample["per_class"], there[landmarks - 1])


def _sample(sample: Params, there: list[int]) -> Iterator[Finding]:
    """``there``: photos of each landmark in the catalogue, the most first."""
    landmarks, fewest = _possible(sample, there)
    if (asked := sample["classes"]) > landmarks:
        has = f"the catalogue has {len(there)} landmarks" + (
            f", {landmarks} of them with {fewest} photos" if landmarks < len(there) else ""
        )
        yield Finding("sample.classes", f"{asked} asked for, {has}; lower it to {landmarks}", landmarks)
    if (asked := sample["per_class"]) > fewest:
        few = f"{asked} asked for, one of the {landmarks} commonest landmarks has {fewest} photos"
        yield Finding("sample.per_class", f"{few}; lower it to {fewest}, or lower sample.classes", fewest)
    if (unknown := sample["unknown"]) > (others := sum(there[landmarks:])):
        few = f"{unknown} asked for, the catalogue has {others} photos of other landmarks"
        yield Finding("sample.unknown", f"{few}; lower it to {others}", others)


def _addresses(block: Params, urls: list[str]) -> Iterator[Finding]:
    """Schemes that are not allowed, hosts that want a contact, hosts and files that are not there."""
    if "demo" in block["schemes"] and all(url.startswith(DEMO) for url in urls):
        return
    import download  # here: the demo dataset needs none of it
    from landmarks.download import archives, fetcher, storage

    settings = knobs.build(fetcher.FetchSettings, block)
    schemes = Counter(map(storage.scheme_of, urls))
    if missing := [name for name in schemes if name not in settings.schemes]:
        example = next(url for url in urls if storage.scheme_of(url) == missing[0])
        photos = sum(schemes[scheme] for scheme in missing)
        asked = f"{', '.join(missing)} not among them, {photos} photos have such addresses ({example})"
        yield Finding("download.schemes", f"{asked}; add what you trust", [*block["schemes"], *missing])
    try:
        download.check(settings, urls)
        storage.Tars([name for name in settings.tars if not name.startswith(archives.HTTP)], ())
    except InputError as error:
        yield Finding("download", str(error))
    if not (settings.tars or settings.archives):  # which may have what a host has not
        yield from _silent(settings, [url for url in urls if storage.scheme_of(url) in (*fetcher.HTTP, "file")])


def _silent(settings: "FetchSettings", urls: Iterable[str]) -> Iterator[Finding]:
    """Hosts of which no photo came so far, and which do not give a robots.txt now; files, if three of them are missing.

    They end the run where no other host is left; else they are only told: there is a reserve of photos.
    """
    import download
    from landmarks.download import fetcher, politeness, safe_http, storage

    answered = {politeness.host_of(one.asked) for one in download.earlier(LATEST) if one.status == Status.OK}
    by_host: dict[str, list[str]] = {}
    for url in urls:
        by_host.setdefault(politeness.host_of(url), []).append(url)
    session = safe_http.session(fetcher.user_agent(settings.contact), 1, settings.loopback)
    asked = sorted(set(by_host) - answered, key=lambda host: -len(by_host[host]))[:HOSTS]
    silent: list[Finding] = []
    for host in asked:
        own = by_host[host]
        try:
            if storage.scheme_of(own[0]) in fetcher.HTTP:
                safe_http.get(session, safe_http.join(own[0], "/robots.txt"), SECONDS, settings.megabytes)
            else:
                _require_one(own[:: -(-len(own) // 3)], settings.megabytes)
        except StatusError as error:
            if error.status in (*SILENT, *NO_FILE):
                remedy = download.REMEDIES[error.status] if error.status in SILENT else NO_FILE_REMEDY
                silent.append(Finding("catalogue.source", f"{own[0]}: {error.status}; {remedy}"))
    if len(silent) == len(by_host):
        yield from silent
    for finding in silent if len(silent) < len(by_host) else ():
        print(f"preflight: {finding}; other hosts answer, so the run goes on", file=sys.stderr)


def _require_one(urls: list[str], megabytes: float) -> None:
    """Raise ``StatusError`` if none of these files can be read."""
    from landmarks.download import storage

    for url in urls:
        try:
            storage.read(url, megabytes)
            return
        except StatusError as error:
            if url == urls[-1] or error.status not in NO_FILE:
                raise


def _training(params: Params, landmarks: int, photos: int) -> Iterator[Finding]:
    """Components and folds that the training photos of such a sample give, if no photo is missing or resembles another.

    Where that makes them fewer, the stages say so.
    """
    training = _of_training(params, photos)
    if training < 2:
        few = f"{photos} photos of a landmark leave {training} for training; {least(params)} give the 2 that are needed"
        yield Finding("sample.per_class", f"{few}: raise it, or take landmarks with more by lowering sample.classes")
        return
    for block in ("sweep", "grid"):
        if (folds := params[block]["folds"]) > training:
            few = f"{folds} asked for, {photos} photos of a landmark leave {training} for training"
            yield Finding(f"{block}.folds", f"{few}; lower it to {training}, or raise sample.per_class", training)
    components = {name: (f"pca.{name}", n) for name, n in params["pca"].items()}
    for name, entry in params["models"].items():
        parameter, n = components.pop(entry["pca"], (f"models.{name}.pca", entry["pca"]))
        if str(n).isdecimal() and int(n) > (most := landmarks * training):
            yield Finding(
                parameter, f"{n} components asked for, {most} training photos give {most} at most; lower it", most
            )
    folds = min(params["sweep"]["folds"], training)
    most = landmarks * (training - -(-training // folds))
    if (start := params["sweep"]["start"]) > most:
        yield Finding(
            "sweep.start", f"{start} components asked for, the training photos of a fold give {most}; lower it", most
        )
    if params["sweep"]["stop"] <= min(start, most):
        yield Finding(
            "sweep.stop", f"{params['sweep']['stop']} is not above sweep.start; raise it", min(start, most) + 1
        )


def least(params: Params) -> int:
    """As many photos of a landmark are needed for two training photos, with which folds are possible."""
    return next(photos for photos in itertools.count(3) if _of_training(params, photos) >= 2)


def _of_training(params: Params, photos: int) -> int:
    """How many of so many photos of a landmark are for training; 0 if they cannot be split."""
    shares = {name: params["split"][name] for name in ("test", "validation")}
    try:
        parts = splitting.split([str(n) for n in range(photos)], ["a"] * photos, np.arange(photos), **shares, seed=0)
    except InputError:
        return 0
    return parts.count("train")


def _backbone(block: Params, known: ResultCache) -> Iterator[Finding]:
    """Load the backbone, which takes TensorFlow's seconds, unless it loaded before."""
    if block["module"] in (BACKBONE, [BACKBONE]) and block["size"] == 0:
        return
    from landmarks.deep.config import NetworkConfig, Recipe, TrainingConfig

    recipe = Recipe(knobs.build(TrainingConfig, block), NetworkConfig(augment=False), 0)
    modules = [block["module"]] if isinstance(block["module"], str) else block["module"]
    key = fingerprint([modules, block["recipe"], block["size"], *(_content(Path(module)) for module in modules)])
    if known.get(key) is not None:
        return
    from landmarks.deep import classifier

    try:
        classifier.load_backbone(recipe)
        known.put(key, b"loads")
    except InputError as error:
        yield Finding("cnn.module", str(error).removeprefix("cnn.module "))


def _content(module: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of each file of a folder."""
    files = sorted(path for path in module.rglob("*") if path.is_file())
    return [(str(path), (about := path.stat()).st_size, about.st_mtime_ns) for path in files]


if __name__ == "__main__":
    stage.run(main)
