"""Configs of every family with one field changed, against transformers on the meta device."""

import random

import fuzz
import pytest

from moe_lessons.accounting import ConfigError, count, describe
from moe_lessons.accounting.describing import UNREAD

SAMPLE = 10  # mutations of each family; all of them take some minutes


@pytest.fixture(autouse=True, scope="module")
def quiet():
    import transformers

    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(50)
    yield
    transformers.logging.set_verbosity(level)


def unread(model):
    return [note for note in model.notes if note.startswith(UNREAD)]


@pytest.mark.parametrize("family", fuzz.FAMILIES)
def test_a_changed_field_changes_the_count_as_in_transformers(family):
    rng = random.Random(family)
    every = list(fuzz.mutations(family))
    compared = 0
    for name, value in [("", None), *rng.sample(every, min(SAMPLE, len(every)))]:
        values = fuzz.small(family) | ({name: value} if name else {})
        try:
            config = fuzz.text_class(family)(**values)
            model = fuzz.build(family, config)
        except Exception:  # transformers refuses the change, or breaks on it, in many ways
            assert name, f"the small config of {family} does not build"
            continue
        tied = getattr(config, "tie_word_embeddings", None)
        values = {"model_type": config.model_type, "tie_word_embeddings": tied, **values}
        for source in (values, config):
            try:
                described = describe(source)
            except ConfigError:
                assert name, f"the small config of {family} is refused"
                continue  # refused is not silent
            counted = count(described)
            found = counted.total, counted.components["routed_experts"]
            expected = fuzz.sizes(family, model, described.tied)
            assert found == expected, f"{family} with {name}={value}: {found}, transformers has {expected}"
            compared += 1
    assert compared >= 4


@pytest.mark.parametrize("family", fuzz.FAMILIES)
def test_nothing_is_reported_unread_where_all_is_read(family):
    config = fuzz.text_class(family)(**fuzz.small(family))
    assert unread(describe(config)) == []


# Without these fields there is nothing of what they describe.
OFF_BY_DEFAULT = {"kv_source_layers", "ple_layer_ids", "moe_latent_size"}


def without(values, field):
    """What comes of a config that lacks a field: the error's text, or the model."""
    try:
        return describe({key: value for key, value in values.items() if key != field})
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("family", fuzz.FAMILIES)
def test_a_missing_field_is_named_or_assumed_openly(family):
    model_type = fuzz.text_class(family).model_type
    whole = {"model_type": model_type, "tie_word_embeddings": True, **fuzz.small(family)}
    expected = describe(whole)
    for field in set(whole) - OFF_BY_DEFAULT:
        found = without(whole, field)
        if isinstance(found, str):
            assert "missing" in found or "otherwise" in found, found
        else:
            openly = set(found.assumed) - set(expected.assumed)
            assert openly or count(found) == count(expected), field


def counted(family, **changes):
    config = fuzz.text_class(family)(**fuzz.small(family))
    values = fuzz.small(family) | {"model_type": config.model_type, "tie_word_embeddings": False} | changes
    return count(describe(values)).components


def test_the_padding_of_a_vocabulary_has_no_rows_in_inkling_2_head():
    """As transformers 5.24 builds it; 5.23 keeps these rows, so the peer cannot say in both."""
    padded, cut = counted("inkling2"), counted("inkling2", unpadded_vocab_size=40)
    assert padded["head"] - cut["head"] == 7 * 24
    assert padded["embedding"] == cut["embedding"]


def test_a_rank_of_the_queries_counts_in_ling():
    """As transformers 5.24 builds it; 5.23 has no such field."""
    kinds = ["linear_attention"] * 4 + ["full_attention"]
    whole = counted("bailing_hybrid", layer_types=kinds, q_lora_rank=None)
    narrow = counted("bailing_hybrid", layer_types=kinds, q_lora_rank=10)
    heads = 4 * (8 + 4)  # queries of four heads, with and without positions
    assert whole["attention"] - narrow["attention"] == 24 * heads - (24 * 10 + 10 * heads + 10)
