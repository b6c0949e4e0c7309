"""Make the two texts that come with the package, from the Python that runs this; they were made with 3.11.7.

    python benchmarks/built_in_texts.py FOLDER

Another version of Python has other documentation, so the texts are in the package, with their checksums, and
not made anew: scores on them compare between machines and over the years.
"""

import gzip
import hashlib
import importlib.util
import platform
import re
import sys
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
    from pydoc_data.topics import topics

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
    specs = map(importlib.util.find_spec, STANDARD_LIBRARY_MODULES.split())
    origins = [spec.origin for spec in specs if spec and spec.origin]
    # Those that are frozen into the interpreter have no file: left out.
    return b"\n".join(Path(origin).read_bytes() for origin in origins if origin.endswith(".py"))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in {
        "language-reference": language_reference,
        "standard-library": standard_library,
    }.items():
        text = make()
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(text, 9, mtime=0))
        digest = hashlib.sha256(text).hexdigest()
        print(f"{name} of Python {platform.python_version()}: {len(text):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
