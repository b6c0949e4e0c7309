import dataclasses

import pytest

from moe_lessons.data import load_corpus


@pytest.fixture(scope="session")
def corpus():
    """A little text: evaluating on it takes no time."""
    whole = load_corpus("language-reference")
    train_N, validation_M = whole.train_N[:50_000], whole.validation_M[:1000]
    return dataclasses.replace(
        whole,
        name="excerpt",
        train_N=train_N,
        validation_M=validation_M,
        n_train_bytes=len(train_N),
        n_validation_bytes=len(validation_M),
    )
