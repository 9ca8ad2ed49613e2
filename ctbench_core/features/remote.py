"""Features and manifests on object stores: copied once into the cache folder, and read there like any file.

A URL of fsspec, such as ``s3://bucket/features/a.npz``, is copied to ``<cache>/.remote/s3/bucket/features/a.npz``.
``.remote/s3/index.jsonl`` has one line an object: its path, size and stamp (etag, checksum or time) as the store
listed them. An object whose line and size agree is not copied again, so an interrupted copy goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ctbench_core.atomic import append_line, atomic_file, remove
from ctbench_core.config import is_url
from ctbench_core.errors import FeatureError, InputError, ManifestError, PathError, RunError
from ctbench_core.features.pack import writer_lock
from ctbench_core.features.paths import candidates, relative_path
from ctbench_core.manifest import Manifest
from ctbench_core.names import RESERVED, UNSAFE

MIRROR = ".remote"
_INDEX = "index.jsonl"
_WORKERS = 16
_STAMPS = ("ETag", "etag", "checksum", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "created")
_WHOLE_BYTES = 2**26  # larger objects are copied piece by piece
# Percent-encoded in the names of copies, with the sign of the encoding.
_ENCODED = re.compile(rf"{UNSAFE.pattern}|%|[. ]$")


def local_place(place: str, cache: Path) -> Path:
    """Return where the files of a folder or URL are on this machine; those of a URL are in the mirror."""
    if not is_url(place):
        return Path(place).expanduser()
    scheme, _, rest = place.partition("://")
    return cache / MIRROR / scheme / encoded_name(rest)


def written_place(path: Path) -> str:
    """Return the URL of a file in the mirror, or else the path itself."""
    parts = path.parts
    if MIRROR not in parts:
        return str(path)
    scheme, *rest = parts[parts.index(MIRROR) + 1 :]
    slash = "/" if scheme in ("file", "local") else ""
    return f"{scheme}://{slash}{'/'.join(map(unquote, rest))}"


def encoded_name(name: str) -> str:
    """Return a relative path in which what Windows refuses is percent-encoded; most names stay as they are."""
    return "/".join(_encode(part) for part in name.replace("\\", "/").split("/") if part)


def _encode(part: str) -> str:
    if part in (".", ".."):  # the loader refuses what points out of the root
        return part
    part = _ENCODED.sub(lambda hit: f"%{ord(hit[0]):02X}", part)
    return RESERVED.sub(lambda hit: f"%{ord(hit[0][0]):02X}{hit[0][1:]}", part)


@dataclass(frozen=True)
class Copies:
    """The copies of N feature files: the URL and the local root, and the paths below each, as written and as copied."""

    url: str
    root: Path
    written: list[str]
    paths: list[str]

    def named(self, text: str) -> str:
        """Return a message with the URL and the written paths in place of the root and encoded paths of the copies."""
        text = text.replace(str(self.root), self.url)
        for path, written in dict(zip(self.paths, self.written)).items():
            text = text.replace(path, written) if "%" in path else text
        return text


def copy_features(
    url: str, paths: list[str], cache: Path, progress: Callable[[int, int], object] | None = None
) -> Copies:
    """Copy the feature files of a manifest, where new or changed.

    Args:
        url: the feature root, or one table.
        paths: as written in the manifest; absent ones are left for the loader to report.
        progress: called with the objects copied and their number; what it raises stops the copy.

    Raises:
        FeatureError: the store cannot be read or has nothing there, or two names differ in case only.
        RunError: the cache folder cannot be written.
    """
    store = _Store(url, cache, FeatureError)
    listed = store.objects()
    if not listed:
        raise FeatureError(f"Feature root {url} has no files. Check paths.data_root, and that you may read it.")
    is_table = "" in listed
    chosen = {} if is_table else dict(_chosen(listed, paths))
    store.copy({name: listed[name] for name in ([""] if is_table else chosen.values())}, listed, progress)
    copied = paths if is_table else [encoded_name(chosen.get(path, path)) for path in paths]
    return Copies(url, local_place(url, cache), paths, copied)


def copy_manifest(url: str, cache: Path) -> Path:
    """Copy a manifest, where new or changed, and return its local path, at which nothing lies if the store has none.

    Raises:
        ManifestError: the store cannot be read.
        RunError: the cache folder cannot be written.
    """
    store = _Store(url, cache, ManifestError)
    listed = store.objects()
    store.copy({name: facts for name, facts in listed.items() if not name}, listed)
    return local_place(url, cache)


def read_copy(path: Path, read: Callable[[], Manifest]) -> Manifest:
    """Read the manifest at a path; it, its warnings and errors name its URL, where it has one, in place of its copy."""
    place = written_place(path)
    try:
        found = read()
    except InputError as error:
        if place == str(path):
            raise
        raise error.renamed(str(path), place) from error
    if place == str(path):
        return found
    warnings, notes = ([text.replace(str(path), place) for text in texts] for texts in (found.warnings, found.notes))
    return dataclasses.replace(found, place=place, warnings=warnings, notes=notes)


def _chosen(listed: dict[str, Any], paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each path with the listed name that it means, if any; paths out of the root are the loader's to refuse."""
    for path in dict.fromkeys(paths):
        with contextlib.suppress(PathError):
            name = next((one for one in candidates(relative_path(path)) if one in listed), None)
            if name is not None:
                yield path, name


class _Store:
    """One place of an object store and its mirror."""

    def __init__(self, url: str, cache: Path, error: type[FeatureError] | type[ManifestError]) -> None:
        self.url, self.cache, self.error = url.rstrip("/"), cache, error
        self.folder = cache / MIRROR / url.partition("://")[0]
        try:
            import fsspec

            self.files, self.root = fsspec.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as missing:
            raise error(
                f"{url} needs a package: {missing}. Install it with pip install 'ctbench[remote]'."
            ) from missing
        except ValueError as unknown:
            raise error(f"{url} cannot be read: {unknown}. Use s3://, gs://, hf:// or file://.") from unknown

    @contextlib.contextmanager
    def _reported(self, url: str) -> Iterator[None]:
        """Report what a store raises as one error that names the URL."""
        try:
            yield
        except FileNotFoundError as error:
            raise self.error(f"{url} was removed while it was copied. Export it again, or correct the path.") from error
        except _store_errors() as error:
            raise self.error(
                f"{url} cannot be read: {error or type(error).__name__}. Check the address, the connection and your access."
            ) from error

    def objects(self) -> dict[str, tuple[int, str]]:
        """Return size and stamp of all objects by their name below the root; a single object has the name ''."""
        with self._reported(self.url):
            self.files.invalidate_cache()
            found = self.files.find(self.root, detail=True)
            found = {path: facts or self.files.info(path) for path, facts in found.items()}  # a single file has none
        prefix = self.root.rstrip("/")
        return {
            path.removeprefix(prefix).lstrip("/"): (int(facts.get("size") or 0), _stamp(facts))
            for path, facts in found.items()
            if path == prefix or path.startswith(prefix + "/")
        }

    def copy(
        self,
        wanted: dict[str, tuple[int, str]],
        listed: dict[str, tuple[int, str]],
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        """Copy the wanted objects that are new or changed, and remove copies of objects that are gone."""
        self._refuse_case(wanted)
        try:
            with writer_lock(self.folder, lambda: progress and progress(0, len(wanted))):
                index = self._read_index()
                self._remove_gone(index, listed)
                new = [name for name, facts in wanted.items() if not self._is_current(name, facts, index)]
                self._copy_all({name: wanted[name] for name in new}, progress)
        except OSError as error:
            raise RunError(
                f"{self.folder} cannot be written: {error.strerror or error}. "
                "Free space or correct the permissions there, or set paths.cache_dir to another folder."
            ) from error

    def _refuse_case(self, wanted: Iterable[str]) -> None:
        seen: dict[str, str] = {}
        for name in wanted:
            if (other := seen.setdefault(name.casefold(), name)) != name:
                raise self.error(f"{self.url}: {other} and {name} differ in case only. Rename one of them.")

    def _url(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def _local(self, name: str) -> Path:
        return local_place(self._url(name), self.cache)

    def _read_index(self) -> dict[str, list[Any]]:
        """Return size and stamp of the copies by their URL; a last line cut short is left out."""
        index = {}
        path = self.folder / _INDEX
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            with contextlib.suppress(ValueError):
                url, *facts = json.loads(line)
                index[url] = facts
        return index

    def _is_current(self, name: str, facts: tuple[int, str], index: dict[str, list[Any]]) -> bool:
        local = self._local(name)
        # Without etag or time, a store does not say whether an object changed.
        return bool(facts[1]) and index.get(self._url(name)) == list(facts) and _size(local) == facts[0]

    def _remove_gone(self, index: dict[str, list[Any]], listed: dict[str, tuple[int, str]]) -> None:
        for url in index:
            if url == self.url or url.startswith(self.url + "/"):
                name = url.removeprefix(self.url).lstrip("/")
                if name not in listed:
                    remove(self._local(name))

    def _copy_all(self, new: dict[str, tuple[int, str]], progress: Callable[[int, int], object] | None) -> None:
        pool = ThreadPoolExecutor(_WORKERS)
        try:
            jobs = {pool.submit(self._copy_one, name, facts[0]): name for name, facts in new.items()}
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                name = jobs[job]
                append_line(self.folder / _INDEX, json.dumps([self._url(name), *new[name]]))
                if progress is not None:
                    progress(done, len(new))
        finally:
            pool.shutdown(cancel_futures=True)

    def _copy_one(self, name: str, size: int) -> None:
        path = f"{self.root.rstrip('/')}/{name}" if name else self.root
        with atomic_file(self._local(name)) as copy, self._reported(self._url(name)):
            if size <= _WHOLE_BYTES:
                copy.write(self.files.cat_file(path))
            else:
                with self.files.open(path, "rb") as source:
                    shutil.copyfileobj(source, copy, _WHOLE_BYTES)
            if copy.tell() != size:
                raise self.error(f"{self._url(name)} changed while it was copied. Run it again.")


def _stamp(facts: dict[str, Any]) -> str:
    return next((str(facts[key]) for key in _STAMPS if facts.get(key)), "")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _store_errors() -> tuple[type[Exception], ...]:
    """Return what the stores' packages raise beside OSError; those not installed raise nothing."""
    kinds: list[type[Exception]] = [OSError, ValueError]
    with contextlib.suppress(ImportError):
        from botocore.exceptions import BotoCoreError

        kinds.append(BotoCoreError)
    with contextlib.suppress(ImportError):
        from aiohttp import ClientError

        kinds.append(ClientError)
    return tuple(kinds)
