"""Find a model and its tokenizer: a run of this package, a Hugging Face folder, or a name on the hub."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from moe_lessons.inspect.trace import InspectError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Subject:
    """A model that can be loaded, and its tokenizer.

    Parameters
    ----------
    name, family : str
    encode : callable
        Text to token ids.
    show : callable
        Token ids to what a reader sees, one text a token.
    load, build : callable
        The trained model; a copy of it with random weights from a seed.
    vocab_size : int or None
    context : int or None
        The longest text that the model was made for.
    weight_bytes : int or None
        Of the weights in memory; None where nothing says so before loading.
    """

    name: str
    family: str
    encode: Callable[[str], list[int]]
    show: Callable[[list[int]], list[str]]
    load: Callable[[], nn.Module]
    build: Callable[[int], nn.Module]
    vocab_size: int | None
    context: int | None
    weight_bytes: int | None


def find(model: str, *, download: bool = False, dtype: str = "bf16", device: str = "cpu") -> Subject:
    """Find a model by path or hub name; nothing but its config and tokenizer is read yet.

    Parameters
    ----------
    model : str
    download : bool
        Whether what is missing may be fetched from the hub.
    dtype : str
        Of the weights: fp32, bf16 or fp16. Runs of this package are in fp32.
    device : str

    Raises
    ------
    InspectError
        If there is no such model, it has no tokenizer, or the hub cannot be reached.
    """
    path = Path(model)
    is_path = path.exists() or model.startswith((".", "/", "~")) or model.count("/") > 1
    if not is_path:
        return _transformers(model, download=download, dtype=dtype, device=device)
    if not path.exists():
        raise InspectError(f"there is no folder {model}")
    if not path.is_dir():
        raise InspectError(f"{model} is a file: give the folder of a model or of a run")
    if (path / "config.json").is_file():
        return _transformers(str(path), download=False, dtype=dtype, device=device)
    if (path / "state.json").is_file() or any(path.glob("step-*/state.json")):
        return _run(path, device)
    raise InspectError(
        f"{model} holds neither config.json (Hugging Face) nor a checkpoint of moe-lessons train"
    )


def _run(path: Path, device: str) -> Subject:
    from moe_lessons.config import ModelConfig
    from moe_lessons.data import saved_tokenizer
    from moe_lessons.model import MoETransformer
    from moe_lessons.training.checkpoint import latest_checkpoint, load_model, read_state

    checkpoint = latest_checkpoint(path)
    state = read_state(checkpoint)
    config = ModelConfig(**state["config"]["model"])
    tokenizer = saved_tokenizer(
        checkpoint.parent, vocab_size=config.vocab_size, sha256=state.get("tokenizer_sha256")
    )

    def build(seed: int) -> nn.Module:
        return MoETransformer(config, generator=torch.Generator().manual_seed(seed)).to(device).eval()

    return Subject(
        name=checkpoint.parent.name,
        family="moe-lessons",
        encode=lambda text: tokenizer.encode(text.encode(errors="surrogateescape")).tolist(),
        show=lambda ids: [tokenizer.decode(torch.tensor([i])).decode(errors="replace") for i in ids],
        load=lambda: load_model(checkpoint, device=device)[0],
        build=build,
        vocab_size=config.vocab_size,
        context=config.context_length,
        weight_bytes=(checkpoint / "model.safetensors").stat().st_size,
    )


def _transformers(model: str, *, download: bool, dtype: str, device: str) -> Subject:
    from transformers import AutoConfig, AutoModel

    with quiet(), _one_line(model, "config", download):
        config = AutoConfig.from_pretrained(model, local_files_only=not download)
    if _has_no_experts(config):
        raise InspectError(
            f"{model} has no experts ({getattr(config, 'model_type', '')}): there is no routing to look at"
        )
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    tokenizer = _tokenizer(model, download)
    torch_dtype = DTYPES[dtype]

    def load() -> nn.Module:
        with quiet(), _one_line(model, "weights", download):
            loaded = AutoModel.from_pretrained(model, local_files_only=not download, dtype=torch_dtype)
        return loaded.to(device).eval()

    def build(seed: int) -> nn.Module:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModel.from_config(config, dtype=torch_dtype).to(device).eval()

    return Subject(
        name=Path(model).resolve().name if Path(model).exists() else model,
        family=str(getattr(config, "model_type", "")),
        encode=lambda words: tokenizer(words, add_special_tokens=True)["input_ids"],
        show=lambda ids: [tokenizer.decode([i]) for i in ids],
        load=load,
        build=build,
        vocab_size=getattr(text, "vocab_size", None),
        context=getattr(text, "max_position_embeddings", None),
        weight_bytes=_weight_bytes(config, model, torch_dtype.itemsize),
    )


def _tokenizer(model: str, download: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(model, local_files_only=not download)
    except Exception as error:  # a dozen kinds, by family and version
        raise InspectError(
            f"{model} has no tokenizer that transformers can load ({_first_line(error)}): put its "
            "tokenizer.json and tokenizer_config.json into the folder"
        ) from error


def _has_no_experts(config: Any) -> bool:
    """Whether the counter can read the config and finds no layer with experts."""
    from moe_lessons.accounting import describe

    try:
        return describe(config).n_moe_layers == 0
    except ValueError:
        return False


def _weight_bytes(config: Any, model: str, itemsize: int) -> int | None:
    from moe_lessons.accounting import count, describe

    with contextlib.suppress(ValueError):
        return count(describe(config)).total * itemsize
    files = list(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    return sum(file.stat().st_size for file in files) or None


@contextlib.contextmanager
def _one_line(model: str, what: str, download: bool) -> Iterator[None]:
    """Turn what transformers and the hub say into one line with a remedy."""
    try:
        yield
    except InspectError:
        raise
    except Exception as error:  # transformers and the hub raise many kinds
        if Path(model).exists():
            raise InspectError(f"the {what} of {model} cannot be loaded: {_first_line(error)}") from error
        if not download:
            raise InspectError(
                f"{model} is neither a folder nor in this machine's cache: --download fetches it from the hub"
            ) from error
        raise InspectError(
            f"{model} cannot be fetched from the hub ({_first_line(error)}): check the name and the network, "
            "or give a folder"
        ) from error


def _first_line(error: Exception) -> str:
    line = str(error).strip().split("\n")[0].rstrip(":. ")
    return line[:160] or type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and warnings of transformers off the terminal; errors still arrive."""
    import transformers

    level = transformers.logging.get_verbosity()
    bars = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(level)
        transformers.logging.enable_progress_bar()
        if bars is None:
            del os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]
        else:
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = bars


def available_bytes() -> int | None:
    """Memory that is free on this machine; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("MemAvailable"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration, ValueError):
        return None
