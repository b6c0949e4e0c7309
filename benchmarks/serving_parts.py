"""What bytes and arithmetic alone say about published models; `serving.py` writes it down."""

import itertools

from moe_lessons import serving
from moe_lessons.accounting import count, describe, kv_cache_bytes, weight_bytes

NAMES = ("Mixtral-8x7B", "Qwen3-30B-A3B", "gpt-oss-120b", "DeepSeek-V3")
USUAL = (
    ("Mixtral-8x7B", 2, 30),
    ("Qwen3-30B-A3B", 1, 40),
    ("DeepSeek-V3", 16, 60),
)  # GPUs, requests a second
BATCHES = (1, 4, 16, 64, 256, 1024)
PROMPT, CONTEXT = 2048, 4096


def rooflines(model, texts):
    """Bytes per token, intensities, where arithmetic takes over, and what drafts of 3 bring."""
    rows = []
    for name in NAMES:
        server = serving.Server(name, overhead_s=0)
        drafts = itertools.product((0.7, 0.9), (1, 3), BATCHES)
        cache = kv_cache_bytes(describe(name), CONTEXT, 64)
        rows.append(
            {
                "model": name,
                "active": count(describe(name)).active,
                "weights": weight_bytes(describe(name)),
                "GB per token": {b: round(server.read_bytes(b) / b / 1e9, 4) for b in BATCHES},
                "FLOP per byte": {b: round(server.intensity(b), 2) for b in BATCHES},
                "FLOP per byte of a prompt": round(server.intensity(PROMPT), 1),
                "bound by arithmetic from batch": next(
                    b for b in (2**i for i in range(20)) if server.intensity(b) > server.ridge
                ),
                "share of the cache at batch 64": round(cache / server.read_bytes(64, 64 * CONTEXT), 3),
                "speed-up by drafts": [
                    {
                        "acceptance": a,
                        "gamma": g,
                        "batch": b,
                        "times": round(serving.speculation_speedup(server, b, g, a), 3),
                    }
                    for a, g, b in drafts
                ],
            }
        )
    return rows


def batching(model, texts):
    """Tokens a second with 8, 32 and 128 slots, and how long people wait."""
    rows = []
    for name, gpus, per_second in USUAL:
        server = serving.Server(name, gpus=gpus)
        wanted = serving.requests(300, per_second)
        for slots, mode in itertools.product((8, 32, 128), serving.MODES):
            served = serving.simulate(wanted, server, slots, mode)
            rows.append(
                {
                    "model": name,
                    "gpus": gpus,
                    "requests per second": per_second,
                    "slots": slots,
                    "mode": mode,
                    "tokens per second": round(served.tokens_per_s),
                    "median first token, s": round(served.quantile(served.first_s, 0.5), 3),
                    "median gap, ms": round(1e3 * served.quantile(served.gaps_s, 0.5), 1),
                    "99th percentile of gaps, ms": round(1e3 * served.quantile(served.gaps_s, 0.99), 1),
                }
            )
    return rows
