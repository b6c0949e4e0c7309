"""Two corpora that come with Python itself: the language reference's English, the library's source code."""

import importlib.util
import re
from pathlib import Path

STANDARD_LIBRARY_MODULES = """
    argparse ast bisect calendar cmd codecs collections configparser contextlib copy csv dataclasses
    difflib doctest enum fractions functools gettext graphlib heapq inspect ipaddress locale mimetypes
    optparse pickle pickletools platform plistlib pprint pydoc random shutil statistics string
    subprocess tarfile tempfile textwrap threading tokenize traceback types typing uuid weakref
"""


def language_reference() -> bytes:
    """Return the English of Python's language reference, each paragraph once.

    The reference repeats itself (`compound` contains `if`, `for` and `while` again): split as it
    comes, more than half of a held-out tenth also stands word for word in the training part.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "corpus 'language-reference' is missing from this Python (no module pydoc_data.topics): "
            "use --corpus standard-library or the path of a text file"
        ) from None
    kept, seen = [], set()
    for title in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[title]):
            words = " ".join(paragraph.split())
            # Short lines such as headings and "Examples:" recur legitimately.
            if len(words) >= 40 and words in seen:
                continue
            seen.add(words)
            kept.append(paragraph.strip("\n"))
    return "\n\n".join(kept).encode()


def standard_library() -> bytes:
    """Return the source code of pure-Python standard library modules, one after the other."""
    sources = []
    for name in STANDARD_LIBRARY_MODULES.split():
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and spec.origin.endswith(".py") and Path(spec.origin).exists():
            sources.append(Path(spec.origin).read_bytes())
    if not sources:
        raise FileNotFoundError(
            "corpus 'standard-library' is missing from this Python (it ships without .py files): "
            "use --corpus language-reference or the path of a text file"
        )
    return b"\n".join(sources)


CORPORA = {"language-reference": language_reference, "standard-library": standard_library}
