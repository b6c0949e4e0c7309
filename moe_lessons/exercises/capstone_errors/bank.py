"""All sentences, and the page that a seed draws from them."""

import operator

import numpy as np

from moe_lessons.exercises.capstone_errors.not_settled import DEPENDS, UNKNOWN
from moe_lessons.exercises.capstone_errors.right import RIGHT
from moe_lessons.exercises.capstone_errors.sentence import VERDICTS, Sentence
from moe_lessons.exercises.capstone_errors.wrong_layer import WRONG_LAYER
from moe_lessons.exercises.capstone_errors.wrong_models import WRONG_MODELS

SENTENCES = tuple(
    sorted((*WRONG_LAYER, *WRONG_MODELS, *RIGHT, *DEPENDS, *UNKNOWN), key=operator.attrgetter("id"))
)
BY_ID = {sentence.id: sentence for sentence in SENTENCES}

PARTS = (1, 2)
IN_A_PART = {"right": 4, "wrong": 5, "depends": 2, "unknown": 1}
"""Sentences of a part by verdict: twelve."""

PAPERS = {
    1701.06538: "Shazeer et al., Outrageously Large Neural Networks",
    2006.16668: "Lepikhin et al., GShard",
    2101.03961: "Fedus et al., Switch Transformers",
    2103.16716: "Lewis et al., BASE Layers",
    2202.08906: "Zoph et al., ST-MoE",
    2202.09368: "Zhou et al., Expert Choice Routing",
    2303.08774: "OpenAI, GPT-4 Technical Report",
    2308.00951: "Puigcerver et al., From Sparse to Soft Mixtures of Experts",
    2312.17238: "Eliseev and Mazur, Fast Inference of MoE Models with Offloading",
    2401.04088: "Jiang et al., Mixtral of Experts",
    2401.06066: "Dai et al., DeepSeekMoE",
    2402.01739: "Xue et al., OpenMoE",
    2402.07871: "Krajewski et al., Scaling Laws for Fine-Grained Mixture of Experts",
    2403.19887: "Lieber et al., Jamba",
    2405.04434: "DeepSeek-AI, DeepSeek-V2",
    2407.04153: "He, Mixture of A Million Experts",
    2408.15664: "Wang et al., Auxiliary-Loss-Free Load Balancing",
    2409.02060: "Muennighoff et al., OLMoE",
    2412.19437: "DeepSeek-AI, DeepSeek-V3",
}
"""Papers by arXiv number, as a learner's table cites them: all that a question asks for, and others."""


def page(seed: int) -> dict[int, tuple[Sentence, ...]]:
    """The sentences of a learner's page, by part; no sentence twice.

    Parameters
    ----------
    seed : int
        The learner's, 0 or more.

    Returns
    -------
    dict of int to tuple of Sentence
        Parts 1 and 2, twelve sentences each, in a drawn order.

    Raises
    ------
    ValueError
        If the seed is no whole number from 0 to 2**31 - 1.

    Examples
    --------
    >>> [len(part) for part in page(7).values()], page(7) == page(7), page(7) == page(8)
    ([12, 12], True, False)
    """
    known = isinstance(seed, int | float | np.integer) and not isinstance(seed, bool)
    if not known or not 0 <= seed < 2**31 or int(seed) != seed:
        raise ValueError(f"seed={seed!r}: give a whole number from 0 on, such as your student number")
    rng = np.random.default_rng([17, int(seed)])
    drawn: dict[int, list[Sentence]] = {part: [] for part in PARTS}
    for verdict in VERDICTS:
        n = IN_A_PART[verdict]
        kind = [sentence for sentence in SENTENCES if sentence.verdict == verdict]
        chosen = rng.permutation(len(kind))[: n * len(PARTS)]
        for place, part in enumerate(PARTS):
            drawn[part] += [kind[i] for i in chosen[place * n : (place + 1) * n]]
    return {part: tuple(found[i] for i in rng.permutation(len(found))) for part, found in drawn.items()}
