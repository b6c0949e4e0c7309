"""Fetch a corpus document by document into parts on the disk, and go on after an interruption.

`CACHE/texts/NAME/` holds `part-00000` and so on, documents with a zero byte between them, and
`manifest.json` with the checksum of each part; a part counts once the manifest names it.
"""

import hashlib
import json
import logging
import shutil
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from moe_lessons.data.cache import CorpusError, cache_dir, read_json, sha256_of, whole_file, write_json
from moe_lessons.data.sources import Source

PART_BYTES = 16 * 2**20
END_OF_DOCUMENT = b"\0"
SEPARATOR_LINE = "<|endoftext|>"  # between documents in text files, as TinyStories has it


def folder_of(name: str) -> Path:
    """Return where the text of a corpus lies, or would."""
    return cache_dir() / "texts" / name


def manifest_of(name: str) -> dict[str, Any] | None:
    """Return what has been fetched of a corpus; None if nothing has.

    Raises
    ------
    CorpusError
        If that is damaged.
    """
    path = folder_of(name) / "manifest.json"
    try:
        return read_json(path) if path.is_file() else None
    except CorpusError as error:
        raise CorpusError(f"{error}; fetch it again, with moe-lessons data prepare {name} --again") from error


def fetch(
    source: Source,
    *,
    file: Path | None = None,
    again: bool = False,
    accept: bool = False,
    on_part: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Fetch a corpus, or the rest of it; what is complete is left alone.

    Parameters
    ----------
    source : Source
    file : Path, optional
        Take the documents from this file rather than over the network; see `documents_in`.
    again : bool
        Begin anew, though something is there; it stays until the first part of the new text has come.
    accept : bool
        Trust a text other than the one that was fetched first.
    on_part : callable, optional
        Called with the bytes so far after each part.

    Returns
    -------
    dict
        The manifest: parts, bytes, documents, and the checksum of all documents with a zero byte between.

    Raises
    ------
    CorpusError
        If it cannot be reached or written, or is not the text that is known.
    """
    folder = folder_of(source.name)
    origin = {"file": file.name} if file is not None else source.arguments
    manifest = None if again else manifest_of(source.name)
    if manifest and file is not None and manifest["origin"] != origin:
        raise CorpusError(f"corpus {source.name!r} is in the cache already: add --again to replace it")
    if manifest and manifest["complete"]:
        return manifest
    if manifest is None or manifest["origin"] != origin:
        manifest = {"format": 1, "name": source.name, "origin": origin, "complete": False, "parts": []}
    rows = sum(part["rows"] for part in manifest["parts"])
    stream = documents_in(file, skip=rows) if file is not None else _rows(source, skip=rows)
    for documents, n_rows in _in_parts(stream, source.max_bytes, sum(p["bytes"] for p in manifest["parts"])):
        name = f"part-{len(manifest['parts']):05d}"
        raw = END_OF_DOCUMENT.join(documents)
        with whole_file(folder / name) as target:
            target.write(raw)
        part = {
            "file": name,
            "rows": n_rows,
            "documents": len(documents),
            "bytes": sum(map(len, documents)),
            "sha256": hashlib.sha256(raw).hexdigest(),
        }
        manifest["parts"].append(part)
        write_json(folder / "manifest.json", manifest)
        if on_part is not None:
            on_part(sum(part["bytes"] for part in manifest["parts"]))
    return _complete(source, manifest, accept=accept)


def parts_of(name: str) -> Iterator[list[bytes]]:
    """Yield the documents of a fetched corpus, part by part, each compared with its checksum.

    Raises
    ------
    CorpusError
        If the corpus is not there in full, or damaged.
    """
    manifest = manifest_of(name)
    if manifest is None or not manifest["complete"]:
        state = "not in the cache" if manifest is None else "not in the cache in full"
        raise CorpusError(f"corpus {name!r} is {state}: fetch it, with moe-lessons data prepare {name}")
    for part in manifest["parts"]:
        path = folder_of(name) / part["file"]
        if sha256_of(path) != part["sha256"]:
            raise CorpusError(
                f"{path} is damaged (it does not match its checksum): "
                f"fetch it again, with moe-lessons data prepare {name} --again"
            )
        yield path.read_bytes().split(END_OF_DOCUMENT)


def documents_in(file: Path, *, skip: int = 0) -> Iterator[str]:
    """Yield the documents of a file that someone put there by hand.

    A `.jsonl` file has one JSON object a line, with its text under "text". Any other is text, in which a
    line `<|endoftext|>` stands between documents.

    Raises
    ------
    CorpusError
        If the file cannot be read as such.
    """
    try:
        with open(file, encoding="utf-8") as lines:
            for number, document in enumerate(
                _json_lines(lines) if file.suffix == ".jsonl" else _texts(lines)
            ):
                if number >= skip:
                    yield document
    except OSError as error:
        raise CorpusError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        what = 'JSON objects with "text", one a line' if file.suffix == ".jsonl" else "UTF-8 text"
        raise CorpusError(f"cannot read {file}: it is not {what}") from error


def _json_lines(lines: Iterable[str]) -> Iterator[str]:
    return (json.loads(line)["text"] for line in lines)


def _texts(lines: Iterable[str]) -> Iterator[str]:
    document: list[str] = []
    for line in lines:
        if line.strip() == SEPARATOR_LINE:
            yield "".join(document)
            document = []
        else:
            document.append(line)
    yield "".join(document)


def _rows(source: Source, *, skip: int) -> Iterator[str]:
    by_hand = (
        f"take a file of it by hand (moe-lessons data prepare {source.name} --from FILE); "
        "language-reference and standard-library need neither"
    )
    try:
        yield from _download(source, skip=skip)
    except ImportError:
        raise CorpusError(
            f"corpus {source.name!r} comes through the package datasets: pip install datasets, or {by_hand}"
        ) from None
    except CorpusError:
        raise
    except Exception as error:  # datasets and its clients for hub, HTTP and files each have their own
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        place = source.arguments.get("url") or f"{source.arguments['path']} on the Hugging Face Hub"
        raise CorpusError(
            f"corpus {source.name!r}: cannot fetch {place} ({reason}); what came is kept: "
            f"try again with a network, or {by_hand}"
        ) from error


def _download(source: Source, *, skip: int) -> Iterator[str]:
    if "url" in source.arguments:
        if skip:
            return  # it is one text, and here
        with urllib.request.urlopen(source.arguments["url"], timeout=30) as answer:
            yield answer.read().decode()
        return
    import datasets

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it announces each of its retries
    rows = datasets.load_dataset(**source.arguments, streaming=True)
    for row in rows.skip(skip) if skip else rows:
        yield row[source.column]


def _in_parts(rows: Iterable[str], max_bytes: int | None, n_bytes: int) -> Iterator[tuple[list[bytes], int]]:
    """Gather documents until they fill a part; empty ones are rows, but not documents."""
    documents: list[bytes] = []
    size = n_rows = 0
    if max_bytes is not None and n_bytes >= max_bytes:
        return
    for row in rows:
        n_rows += 1
        document = row.encode(errors="replace").replace(END_OF_DOCUMENT, b"")
        if document.strip():
            documents.append(document)
            size += len(document)
        full = max_bytes is not None and n_bytes + size >= max_bytes
        if documents and (size >= PART_BYTES or full):
            yield documents, n_rows
            n_bytes += size
            documents, size, n_rows = [], 0, 0
        if full:
            return
    if documents:
        yield documents, n_rows


def _complete(source: Source, manifest: dict[str, Any], *, accept: bool) -> dict[str, Any]:
    """Compare the whole with what is known, and only then call it complete."""
    if not manifest["parts"]:
        raise CorpusError(f"corpus {source.name!r}: there was no text in it; try another file")
    folder, trusted_file = folder_of(source.name), cache_dir() / "texts" / "first-fetched.json"
    digest = hashlib.sha256()
    for number, part in enumerate(manifest["parts"]):
        digest.update((END_OF_DOCUMENT if number else b"") + (folder / part["file"]).read_bytes())
    found = digest.hexdigest()
    trusted = read_json(trusted_file) if trusted_file.is_file() else {}
    known = source.sha256 or (None if accept else trusted.get(source.name))
    if known not in (None, found):
        which, remedy = "the one that was fetched first", "add --accept to trust it"
        if source.sha256:
            which, remedy = "the published one", "it was dropped; try again"
            shutil.rmtree(folder, ignore_errors=True)
        raise CorpusError(
            f"corpus {source.name!r} is not {which} (sha256 {found[:16]}..., not {known[:16]}...): {remedy}"
        )
    if source.sha256 is None:
        write_json(trusted_file, {**trusted, source.name: found})
    manifest |= {
        "complete": True,
        "sha256": found,
        "checked": "published checksum" if source.sha256 else "trusted on first use",
        "bytes": sum(part["bytes"] for part in manifest["parts"]),
        "documents": sum(part["documents"] for part in manifest["parts"]),
    }
    write_json(folder / "manifest.json", manifest)
    for path in set(folder.iterdir()) - {folder / part["file"] for part in manifest["parts"]}:
        if path.name != "manifest.json":
            path.unlink()  # of an earlier fetch that was longer
    return manifest
