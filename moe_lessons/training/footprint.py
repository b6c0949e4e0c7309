"""How much memory a run will take on a CPU, predicted before it starts."""

import torch

from moe_lessons.accounting.resident import ResidentBytes, resident_bytes
from moe_lessons.config import TrainConfig
from moe_lessons.data import Corpus
from moe_lessons.dispatch.products import prepares_code
from moe_lessons.dispatch.rooms import in_blocks
from moe_lessons.training.utilisation import describe_model

PRODUCTS = 6  # of an expert: gate-up and down, each forward and for two gradients
LOAD_VARIES_BY = 4  # while it learns, a router gives an expert between a quarter and four times its share
MOST_LOADS = 1_000_000


def predicted(config: TrainConfig, corpus: Corpus | None = None) -> ResidentBytes:
    """Predict the peak memory of a run, beyond the libraries that it loads.

    For fp32 on a CPU and models built like Mixtral, trained by one process.

    Parameters
    ----------
    config : TrainConfig
    corpus : Corpus, optional
        Counts if it is held in memory.

    Returns
    -------
    ResidentBytes

    Examples
    --------
    >>> needed = predicted(TrainConfig())
    >>> needed.weights, needed.optimizer  # 4 and 8 bytes for each of 1840256 parameters
    (7361024, 14722048)
    """
    model = config.model
    held = [corpus.train_N, corpus.validation_M] if corpus is not None else []
    return resident_bytes(
        describe_model(model),
        config.tokens_per_step // config.accumulation_steps,
        model.n_heads,
        corpus=sum(tensor.nbytes for tensor in held),
        prepared_products=prepared_products(config),
    )


def prepared_products(config: TrainConfig) -> int:
    """Count the sizes of products that oneDNN will meet in the experts; 0 where it does not multiply.

    A product's size changes with its expert's load, in blocks.
    """
    if not prepares_code(torch.float32, torch.device("cpu")):
        return 0
    model = config.model
    rows = config.tokens_per_step // config.accumulation_steps * model.top_k
    share = rows // model.n_experts
    low, high = share // LOAD_VARIES_BY, min(rows, LOAD_VARIES_BY * share)
    # Of very many loads a sample will do: for a batch that cannot fit, the list of them would not either.
    loads = torch.arange(low, high + 1, max(1, (high - low) // MOST_LOADS))
    return PRODUCTS * len(in_blocks(loads).unique())
