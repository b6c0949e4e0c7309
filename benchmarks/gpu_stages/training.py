"""The preset gpu-small for as long as fits, a dense model of equal active size, then torch.compile.

The preset's own text has to be fetched; this day needs no network, so both train on the standard library's
source code that comes with the package. It is short: the models pass over it many times. So the curves show
that training works and how fast, not how good such a model becomes.
"""

from collections.abc import Callable

import torch

from gpu_stages import clocks
from gpu_stages.stage import Row, Stage
from moe_lessons.bench.dense import EQUAL_ACTIVE, MOE, variants
from moe_lessons.config import TrainConfig, preset
from moe_lessons.data import Corpus, load_corpus
from moe_lessons.training import StepRecord, train
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.footprint import predicted
from moe_lessons.training.outlook import look_ahead
from moe_lessons.training.report import run_report
from moe_lessons.training.utilisation import device_peak, flops_per_token, utilisation

LIMIT_S = 150
CORPUS = "standard-library"
PROBE_STEPS, PROBE_EVERY = 12, 4  # steps to learn the speed from: of the last four
SHARE = {MOE: 0.5, EQUAL_ACTIVE: 0.8}  # of what is left when a run begins
RECORDS, EVALUATIONS = 30, 5
LEAST_S = 25.0
COMPILE_S = 90.0  # with less, torch.compile is left out: compiling takes long


def run(stage: Stage) -> None:
    """Train both, then a few steps with torch.compile; each is a row, or rows as they come."""
    config = settings(stage.dry)
    corpus = load_corpus(
        config.corpus,
        context_length=config.model.context_length,
        tokenizer=config.tokenizer,
        vocab_size=config.model.vocab_size,
        held_out_share=config.held_out_share,
    )
    both = variants(config)
    for name in (MOE, EQUAL_ACTIVE):
        attempt(stage, name, "result", lambda name=name: whole(stage, name, both[name], corpus))
    attempt(stage, MOE, "not compiled", lambda: probe(stage, config, corpus))
    if stage.dry:
        stage.add({"run": MOE, "part": "compiled", "skipped": "compiling takes longer than a dry run may"})
    elif stage.left() > COMPILE_S:
        attempt(stage, MOE, "compiled", lambda: probe(stage, config.override(compile=True), corpus))
    else:
        stage.say("no time for torch.compile")


def settings(dry: bool) -> TrainConfig:
    """Return the preset on the text that is here, or a tiny run on a CPU."""
    if dry:
        return preset("smoke").override(steps=12, held_out_share=0.01, device="cpu", precision="fp32")
    return preset("gpu-small").override(corpus=CORPUS, device="cuda")


def attempt(stage: Stage, name: str, part: str, measure: Callable[[], Row]) -> None:
    """Store what was measured, or why it failed, unless it is stored already."""
    if stage.have(run=name, part=part):
        return
    if stage.left() < LEAST_S and not stage.dry:
        stage.say(f"no time for {name}, {part}")
        return
    stage.say(f"{name}, {part} ...")
    try:
        row = measure()
    except Exception as error:
        row = {"ok": False, "why": f"{type(error).__name__}: {error}"}
    stage.add({"run": name, "part": part, **row})


def probe(stage: Stage, config: TrainConfig, corpus: Corpus) -> Row:
    """Train a few steps; return the speed of the last, when everything is compiled and warm."""
    short = config.override(steps=PROBE_STEPS, log_every=PROBE_EVERY, evaluate_every=PROBE_STEPS)
    result = train(short, corpus=corpus, on_note=stage.say)
    speed = result.history[-1].tokens_per_second
    return {"steps": PROBE_STEPS, "seconds": result.seconds, **rates(stage, config, speed)}


def whole(stage: Stage, name: str, config: TrainConfig, corpus: Corpus) -> Row:
    """Train for this run's share of the time, each record a row; return speed, memory and the report."""
    step_s = config.tokens_per_step / probe(stage, config, corpus)["tokens_per_second"]
    seconds = stage.left() * SHARE[name]
    steps = max(PROBE_STEPS, min(config.steps, int(seconds / step_s)))
    evaluations = 1 if stage.dry else EVALUATIONS
    timed = config.override(
        steps=steps, log_every=max(1, steps // RECORDS), evaluate_every=max(1, steps // evaluations)
    )
    attempts = 1 + sum(row.get("run") == name and row.get("part") == "begun" for row in stage.rows)
    stage.add({"run": name, "part": "begun", "attempt": attempts, "steps": steps, "of_preset": config.steps})

    def on_step(record: StepRecord) -> None:
        stage.add({"run": name, "part": "curve", "attempt": attempts, **of_record(record)})

    if not stage.dry:
        torch.cuda.reset_peak_memory_stats()
    result = train(timed, corpus=corpus, on_step=on_step)
    report = run_report(result)
    fell = result.validation_bits_per_byte < report["unigram_bits_per_byte"]
    late = [record.tokens_per_second for record in result.history[len(result.history) // 2 :]]
    row = {
        "ok": fell or stage.dry,
        "steps": steps,
        "corpus": corpus.name,
        "note": "not the preset's text, and short: the models pass over it many times",
        **rates(stage, config, sum(late) / len(late)),
        **memory(stage, timed, corpus),
        "clocks": None if stage.dry else clocks.now(),
        "report": report,
    }
    return row if row["ok"] else {**row, "why": "held-out text is no better predicted than by frequencies"}


def of_record(record: StepRecord) -> Row:
    """Return what of a record goes into the curve."""
    return {
        "step": record.step,
        "train_bits_per_byte": round(record.train_bits_per_byte, 4),
        "validation_bits_per_byte": record.validation_bits_per_byte,
        "tokens_per_second": round(record.tokens_per_second),
        "model_flops_utilisation": record.model_flops_utilisation,
        "elapsed_s": round(record.elapsed_s, 2),
        "dead_experts": sum(record.dead_experts_by_layer),
    }


def rates(stage: Stage, config: TrainConfig, tokens_per_second: float) -> Row:
    """Return tokens a second, and the share of the device's peak that they are."""
    flops = flops_per_token(config.model)
    peak = device_peak(torch.device(stage.device), "bf16" if stage.device == "cuda" else "fp32")
    return {
        "tokens_per_second": round(tokens_per_second),
        "flops_per_token": flops,
        "model_flops_utilisation": utilisation(flops, tokens_per_second, peak),
    }


def memory(stage: Stage, config: TrainConfig, corpus: Corpus) -> Row:
    """Return the peak of allocated memory beside the two predictions: none was made for a GPU in bf16."""
    here = Ranks(device=torch.device(stage.device))
    ahead = look_ahead(config, corpus, here)
    peak = None if stage.dry else torch.cuda.max_memory_allocated()
    return {
        "peak_bytes": peak,
        "reserved_bytes": None if stage.dry else torch.cuda.max_memory_reserved(),
        "predicted_for_fp32_on_a_cpu_bytes": predicted(config, corpus).total,
        "certain_bytes": ahead.needed_bytes,
        "certain_of": ahead.what,
    }
