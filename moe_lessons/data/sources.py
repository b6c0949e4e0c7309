"""Larger corpora by name: where each is, how much of it is taken, and what is known of it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Source:
    """A corpus that is fetched once, on request.

    Parameters
    ----------
    name : str
    what : str
        A few words.
    licence : str
    arguments : dict
        For `datasets.load_dataset`, with the revision, so that it stays the same; or the "url" of one text.
    max_bytes : int or None
        So much of it is taken, from its beginning and to the end of a document; None for all.
    sha256 : str or None
        Checksum of what is taken, where we know it for certain. Where we don't, the first fetch is trusted
        and recorded, and later ones are compared with it.
    documents : bool
        Whether it is split by document, rather than as one text.
    column : str
        Which column of the data set is the text.
    """

    name: str
    what: str
    licence: str
    arguments: dict[str, Any] = field(hash=False)
    max_bytes: int | None = None
    sha256: str | None = None
    documents: bool = True
    column: str = "text"


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "tiny-shakespeare",
            "40,000 lines of Shakespeare's plays",
            "public domain",
            {
                "url": "https://raw.githubusercontent.com/karpathy/char-rnn/"
                "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            },
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            documents=False,
        ),
        Source(
            "tinystories",
            "short stories in a small child's words (arXiv:2305.07759)",
            "CDLA-Sharing-1.0",
            {
                "path": "roneneldan/TinyStories",
                "revision": "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64",
                "split": "train",
            },
            max_bytes=256 * 2**20,
        ),
        Source(
            "fineweb-edu-sample",
            "educational web pages, of the 10-billion-token sample (arXiv:2406.17557)",
            "ODC-By 1.0",
            {
                "path": "HuggingFaceFW/fineweb-edu",
                "name": "sample-10BT",
                "revision": "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9",
                "split": "train",
            },
            max_bytes=512 * 2**20,
        ),
    )
}
