"""A user's own text: a file, several, or a folder; what is left out of it, and what is said about that."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BETWEEN_FILES = b"\n\n"
LEAST_CHARACTERS = 40  # shorter paragraphs, such as headings and "Examples:", recur legitimately
_BLANK_LINES = re.compile(rb"(\n\s*\n)")


class OwnText(NamedTuple):
    """What was read.

    Attributes
    ----------
    name : str
        For messages: the file's name, or how many there are.
    text : bytes
    is_text : bool
        Whether all of it is UTF-8.
    notes : tuple of str
        What the user should know.
    """

    name: str
    text: bytes
    is_text: bool
    notes: tuple[str, ...]


def read_own(paths: Sequence[str | Path], *, known: Sequence[str] = ()) -> OwnText:
    """Read files, and all text files under folders, in the order of their names.

    Parameters
    ----------
    paths : sequence of path
    known : sequence of str
        What else could have been asked for by name, for the message.

    Raises
    ------
    FileNotFoundError
        If something is not there, or a folder holds no text.
    """
    texts, notes, is_text = [], [], True
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            found, skipped = _text_files(path)
            if not found:
                raise FileNotFoundError(f"corpus {str(given)!r} is a folder without a file of UTF-8 text")
            texts += found
            if skipped:
                more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
                notes.append(f"{path.name}: left out {skipped[0]}{more}: no UTF-8 text")
            notes.append(f"{path.name}: {len(found)} files, {sum(map(len, found)):,} bytes")
        elif path.is_file():
            texts.append(path.read_bytes())
            if (place := not_utf8_at(texts[-1])) is not None:
                is_text = False
                notes.append(
                    f"{path.name} is no UTF-8 text (byte {place:,} is 0x{texts[-1][place]:02x}): its bytes "
                    "are taken as they are"
                )
        else:
            what = "is not a file" if path.exists() else "does not exist"
            names = f" or one of {', '.join(known)}" if known else ""
            raise FileNotFoundError(f"corpus {str(given)!r} {what}: give the path of a text file{names}")
    first = Path(paths[0]).name
    name = first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
    return OwnText(name, BETWEEN_FILES.join(texts), is_text, tuple(notes))


def _text_files(folder: Path) -> tuple[list[bytes], list[str]]:
    texts, skipped = [], []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        text = path.read_bytes()
        if not_utf8_at(text) is None and b"\0" not in text:
            texts.append(text)
        else:
            skipped.append(path.name)
    return texts, skipped


def not_utf8_at(text: bytes) -> int | None:
    r"""Return the first place where bytes are no UTF-8, None if they are.

    Examples
    --------
    >>> not_utf8_at("Grüße".encode()), not_utf8_at(b"ab\xff")
    (None, 2)
    """
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def drop_repeats(text: bytes, seen: set[bytes] | None = None) -> tuple[bytes, int]:
    r"""Leave out each paragraph of 40 characters or more that came before; the rest stays as it is.

    A text that repeats itself puts the same words into both parts, and then learning by heart looks like
    understanding. Paragraphs are what blank lines separate; white space does not tell them apart.

    Parameters
    ----------
    text : bytes
    seen : set of bytes, optional
        Digests of earlier paragraphs, of another text, say; those of this one are added.

    Returns
    -------
    text : bytes
    n_dropped : int

    Examples
    --------
    >>> song = b"%d green bottles hanging on the wall, hanging on the wall"
    >>> drop_repeats(b"\n\n".join([song % 9, song % 8, song % 9]))[0] == b"\n\n".join([song % 9, song % 8])
    True
    """
    seen = set() if seen is None else seen
    pieces = _BLANK_LINES.split(text)  # paragraph, blank lines, paragraph, ...
    kept: list[bytes] = []
    n_dropped = 0
    for place in range(0, len(pieces), 2):
        words = b" ".join(pieces[place].split())
        digest = hashlib.blake2b(words, digest_size=16).digest()
        if len(words) >= LEAST_CHARACTERS and digest in seen:
            n_dropped += 1
            continue
        seen.add(digest)
        if kept:
            kept.append(pieces[place - 1])
        kept.append(pieces[place])
    return b"".join(kept), n_dropped
