"""Two texts that come with the package: the English of a language reference, the source code of a library.

Both are of Python 3.11.7 whatever Python runs this, so that scores compare; `texts/README.md` says more.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from importlib.resources import files

from moe_lessons.data.cache import CorpusError

SHA256 = {
    "language-reference": "40229ffb9cf14163249f20fbf553cbf61244ebed23529d61fa0a73dd3c696ec1",
    "standard-library": "37b5a2a6ec8a0700134a4371a13eedc6cdd78c0063448320e0c0f7f1cdb80d50",
}


def built_in(name: str) -> bytes:
    """Read a text that comes with the package, and compare its checksum.

    Raises
    ------
    CorpusError
        If its file is missing or damaged.

    Examples
    --------
    >>> len(built_in("language-reference"))
    377872
    """
    try:
        text = gzip.decompress((files("moe_lessons.data") / "texts" / f"{name}.txt.gz").read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise CorpusError(f"corpus {name!r} cannot be read ({reason}): install moe-lessons again") from error
    if hashlib.sha256(text).hexdigest() != SHA256[name]:
        raise CorpusError(f"corpus {name!r} does not match its checksum: install moe-lessons again")
    return text


def language_reference() -> bytes:
    """Return the English of Python's language reference, each paragraph once.

    The reference repeats itself (`compound` contains `if`, `for` and `while` again): split as it
    comes, more than half of a held-out tenth also stands word for word in the training part.
    """
    return built_in("language-reference")


def standard_library() -> bytes:
    """Return the source code of pure-Python standard library modules, one after the other."""
    return built_in("standard-library")


CORPORA: dict[str, Callable[[], bytes]] = {
    "language-reference": language_reference,
    "standard-library": standard_library,
}
