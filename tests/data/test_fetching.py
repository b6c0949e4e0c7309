import contextlib
import dataclasses
import hashlib
import http.server
import json
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import data
from moe_lessons.data import fetching
from moe_lessons.data.fetching import fetch, manifest_of, parts_of

STORIES = data.SOURCES["tinystories"]
SHAKESPEARE = data.SOURCES["tiny-shakespeare"]


def documents_of(name):
    return [document.decode() for part in parts_of(name) for document in part]


def one_line(error):
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


def test_a_corpus_is_fetched_once(cache, hub, stories):
    hub.documents = stories
    manifest = fetch(STORIES)
    assert documents_of("tinystories") == stories
    assert len(manifest["parts"]) > 10
    assert manifest["documents"] == 700
    assert manifest["bytes"] == len("".join(stories).encode())
    assert manifest["sha256"] == hashlib.sha256("\0".join(stories).encode()).hexdigest()
    assert manifest["checked"] == "trusted on first use"
    assert hub.asked == [{**STORIES.arguments, "streaming": True}]
    assert hub.asked[0]["revision"]  # the same text for everyone
    assert fetch(STORIES) == manifest
    assert len(hub.asked) == 1


def test_so_much_is_taken_and_no_more(cache, hub, stories):
    hub.documents = stories
    taken = fetch(dataclasses.replace(STORIES, max_bytes=10_000))
    assert 10_000 <= taken["bytes"] < 10_000 + len(stories[0].encode()) + 20
    assert documents_of("tinystories") == stories[: taken["documents"]]


@settings(deadline=None, max_examples=30)
@given(breaks=st.lists(st.integers(0, 300), max_size=4), limit=st.sampled_from([None, 3000, 30_000]))
def test_an_interrupted_fetch_goes_on_and_ends_with_the_same(tmp_path_factory, breaks, limit):
    documents = [f"document {n} {'x' * (n * 37 % 90)}" if n % 11 else " " for n in range(300)]
    source = dataclasses.replace(STORIES, max_bytes=limit)
    results = []
    for stops in ([], breaks):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetching, "PART_BYTES", 1500)
            patch.setattr("os.fsync", lambda _: None)  # hundreds of files: they need not survive a power cut
            patch.setenv("MOE_LESSONS_CACHE", str(tmp_path_factory.mktemp("cache")))
            patch.setattr(fetching, "_download", breaking_download(documents, [*stops, None]))
            manifest = None
            while manifest is None:
                with contextlib.suppress(data.CorpusError):
                    manifest = fetch(source)
            results.append((manifest, documents_of("tinystories")))
    assert results[0] == results[1]


def breaking_download(documents, stops):
    """Of the first call, so many documents, then an error; of the next the next, until there is None."""
    pending = list(stops)

    def download(_, *, skip):
        stop = pending.pop(0)
        for number, document in enumerate(documents[skip:]):
            if number == stop:
                raise ConnectionError("gone")
            yield document

    return download


def test_a_killed_part_does_not_count(cache, hub, stories, monkeypatch):
    """Between a part's file and the manifest that names it."""
    hub.documents = stories
    real = fetching.write_json

    def killed(path, values):
        if len(values.get("parts", ())) == 3:
            raise KeyboardInterrupt
        real(path, values)

    monkeypatch.setattr(fetching, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch(STORIES)
    monkeypatch.setattr(fetching, "write_json", real)
    with pytest.raises(data.CorpusError, match="is not in the cache in full: fetch it, with moe-"):
        documents_of("tinystories")
    fetch(STORIES)
    assert documents_of("tinystories") == stories


def test_offline_is_one_line_that_says_what_works(cache, hub, stories):
    hub.documents, hub.breaks_after = stories, 0
    with pytest.raises(data.CorpusError) as error:
        fetch(STORIES)
    line = one_line(error)
    for part in (
        "'tinystories'",
        "cannot fetch roneneldan/TinyStories on the Hugging Face Hub (ConnectionError: the network went",
        "moe-lessons data prepare tinystories --from FILE",
        "language-reference and standard-library need neither",
    ):
        assert part in line


def test_without_the_package_the_line_says_what_to_install(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(data.CorpusError) as error:
        fetch(STORIES)
    assert "'tinystories' comes through the package datasets: pip install datasets, or" in one_line(error)
    assert manifest_of("tinystories") is None


@pytest.fixture
def server(tmp_path):
    """A web server on this machine, for one text."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write("To be, or not to be — that is the question.\n".encode() * 300)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/input.txt"
        running.shutdown()


TEXT = "To be, or not to be — that is the question.\n" * 300


def test_one_text_comes_by_http_and_must_be_the_published_one(cache, server):
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    source = dataclasses.replace(SHAKESPEARE, arguments={"url": server}, sha256=digest)
    assert fetch(source)["checked"] == "published checksum"
    corpus = data.load_corpus("tiny-shakespeare")
    assert (corpus.name, corpus.sha256) == ("tiny-shakespeare", digest)
    train, validation = data.split_text(TEXT.encode())
    assert bytes(corpus.train_N.tolist()) == train
    assert bytes(corpus.validation_M.tolist()) == validation
    with pytest.raises(data.CorpusError) as error:
        fetch(dataclasses.replace(source, sha256=SHAKESPEARE.sha256), again=True)
    assert f"is not the published one (sha256 {digest[:16]}..., not 86c4e6aa9db7c042...)" in one_line(error)
    assert manifest_of("tiny-shakespeare") is None


def test_a_closed_port_is_one_line(cache):
    source = dataclasses.replace(SHAKESPEARE, arguments={"url": "http://127.0.0.1:9/input.txt"})
    with pytest.raises(data.CorpusError) as error:
        fetch(source)
    assert "cannot fetch http://127.0.0.1:9/input.txt (URLError: " in one_line(error)


def test_what_was_fetched_first_is_trusted_and_nothing_else(cache, hub, stories):
    hub.documents = stories
    first = fetch(STORIES)
    assert fetch(STORIES, again=True)["sha256"] == first["sha256"]
    hub.documents = [*stories[:-1], "something else"]
    with pytest.raises(data.CorpusError) as error:
        fetch(STORIES, again=True)
    assert "is not the one that was fetched first" in one_line(error)
    with pytest.raises(data.CorpusError, match="not in the cache in full"):
        documents_of("tinystories")
    assert fetch(STORIES, accept=True)["sha256"] != first["sha256"]
    assert documents_of("tinystories")[-1] == "something else"
    hub.documents = stories
    with pytest.raises(data.CorpusError, match="add --accept"):
        fetch(STORIES, again=True)


def test_a_damaged_part_is_found_and_fetched_again(cache, hub, stories):
    hub.documents = stories
    fetch(STORIES)
    part = cache / "texts" / "tinystories" / "part-00002"
    raw = bytearray(part.read_bytes())
    raw[7] ^= 1
    part.write_bytes(raw)
    for harm in (lambda: None, lambda: part.write_bytes(b"")):
        harm()
        with pytest.raises(data.CorpusError) as error:
            documents_of("tinystories")
        line = one_line(error)
        assert f"{part} is damaged" in line
        assert "moe-lessons data prepare tinystories --again" in line
    fetch(STORIES, again=True)
    assert documents_of("tinystories") == stories


def test_what_is_there_stays_until_something_new_has_come(cache, hub, stories, tmp_path):
    hub.documents = stories
    whole = fetch(STORIES)
    hub.breaks_after = 0
    with pytest.raises(data.CorpusError, match="cannot fetch"):
        fetch(STORIES, again=True)
    with pytest.raises(data.CorpusError, match=r"cannot read .*nowhere"):
        fetch(STORIES, file=tmp_path / "nowhere.txt", again=True)
    with pytest.raises(data.CorpusError, match="is in the cache already: add --again to replace it"):
        fetch(STORIES, file=tmp_path / "nowhere.txt")
    assert manifest_of("tinystories") == whole
    hub.documents, hub.breaks_after = stories[:100], None
    shorter = fetch(STORIES, again=True, accept=True)
    assert documents_of("tinystories") == stories[:100]
    there = {path.name for path in (cache / "texts" / "tinystories").iterdir()}
    assert there == {"manifest.json", *(part["file"] for part in shorter["parts"])}
    (cache / "texts" / "tinystories" / "manifest.json").write_text("{")
    with pytest.raises(data.CorpusError, match=r"manifest\.json: it is no JSON: .*; .* --again"):
        documents_of("tinystories")
    assert fetch(STORIES, again=True)["sha256"] == shorter["sha256"]


def test_tokenising_a_large_corpus_says_so(cache, hub, stories):
    hub.documents = stories
    fetch(STORIES)
    with pytest.warns(UserWarning, match="making tokens of tinystories-bytes-"):
        data.load_corpus("tinystories")
    data.load_corpus("tinystories")


@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_a_file_by_hand(cache, tmp_path, stories, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    file = tmp_path / f"mine.{kind}"
    if kind == "txt":
        file.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    else:
        file.write_text("\n".join(json.dumps({"text": story}) for story in stories))
    manifest = fetch(STORIES, file=file)
    assert [document.strip() for document in documents_of("tinystories")] == stories
    assert manifest["origin"] == {"file": file.name}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xff\xfe", "it is not UTF-8 text"),
        ("a.jsonl", b"{", 'it is not JSON objects with "text", one a line'),
        ("a.jsonl", b'{"story": 1}', 'it is not JSON objects with "text"'),
        ("a.jsonl", b"[1]", 'it is not JSON objects with "text"'),
        ("a.txt", None, "No such file"),
        ("a.txt", b" \n", "there was no text in it"),
    ],
)
def test_a_bad_file_by_hand_is_one_line(cache, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(data.CorpusError) as error:
        fetch(STORIES, file=tmp_path / name)
    assert message in one_line(error)


def test_a_full_disk_is_one_line(cache, hub, stories, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    hub.documents = stories
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(data.CorpusError, match="part-00000: No space left on device; make room") as error:
        fetch(STORIES)
    one_line(error)
