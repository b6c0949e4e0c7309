"""Held-out text: which part of a text, or which documents, training never sees."""

import hashlib

VALIDATION_SHARE = 0.1
N_SPANS = 8
DOCUMENT_SHARE = 0.01  # of corpora of many documents, which are large


def split_text(text: bytes, *, validation_share: float = VALIDATION_SHARE) -> tuple[bytes, bytes]:
    """Hold out the last part of each of eight equal stretches of a text.

    Several stretches, because the end of a text alone is about one subject; few and long ones,
    because neighbouring sentences resemble each other.

    Parameters
    ----------
    text : bytes
    validation_share : float
        Share of every stretch that goes to the validation part.

    Returns
    -------
    train, validation : bytes
        Every byte position of `text` lands in exactly one of the two.

    Examples
    --------
    >>> split_text(bytes(range(80)), validation_share=0.1)[1].hex(" ")
    '09 13 1d 27 31 3b 45 4f'
    """
    train, validation = [], []
    for span in range(N_SPANS):
        start, end = span * len(text) // N_SPANS, (span + 1) * len(text) // N_SPANS
        cut = end - round((end - start) * validation_share)
        train.append(text[start:cut])
        validation.append(text[cut:end])
    return b"".join(train), b"".join(validation)


def is_held_out(document: bytes, *, validation_share: float = DOCUMENT_SHARE) -> bool:
    """Whether a document goes to the validation part: its own words decide, so a repeated one goes there too.

    Documents that differ in white space only count as the same one; those that differ in a word do not.

    Parameters
    ----------
    document : bytes
    validation_share : float
        Expected share of documents.

    Examples
    --------
    >>> is_held_out(b"Once upon a time.") == is_held_out(b"Once  upon a\\ntime. ")
    True
    >>> sum(is_held_out(b"%d" % number, validation_share=0.25) for number in range(1000))
    271
    """
    number = int.from_bytes(hashlib.sha256(b" ".join(document.split())).digest()[:8], "big")
    return number < validation_share * 2**64
