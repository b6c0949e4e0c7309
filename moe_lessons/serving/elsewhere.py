"""Commands that serve an exported model with other people's servers, and which of them have been tried."""

from pathlib import Path
from typing import NamedTuple


class Elsewhere(NamedTuple):
    """One way to serve a folder that `moe-lessons export` wrote.

    Attributes
    ----------
    name : str
    install : str
    commands : tuple of str
        ``{folder}`` and ``{context}`` stand for the folder and the model's context.
    asked : str
        A request to it, for the shell.
    tried : str
        What was tried, and with which version; "untested" where nothing was.
    """

    name: str
    install: str
    commands: tuple[str, ...]
    asked: str
    tried: str

    def lines(self, folder: str | Path, context: int) -> list[str]:
        """Return what to type, a line each, the name and what was tried first."""
        filled = [command.format(folder=folder, context=context) for command in self.commands]
        return [f"# {self.name}: {self.tried}", self.install, *filled, self.asked.format(folder=folder)]


def _asked(port: int) -> str:
    body = '{{"model": "{folder}", "prompt": "The ", "max_tokens": 40, "temperature": 0}}'
    return f"curl localhost:{port}/v1/completions -H 'Content-Type: application/json' -d '{body}'"


UNTESTED = "untested"
ELSEWHERE = (
    Elsewhere(
        "transformers serve",
        "pip install 'transformers[serving]' opentelemetry-api",  # fastapi 0.165 imports the second
        ("transformers serve {folder} --device cpu --dtype float32 --port 8000",),
        _asked(8000),
        "tried with transformers 5.23.0 and fastapi 0.165.0 on a CPU: it writes what `generate` writes",
    ),
    Elsewhere(
        "vLLM",
        "pip install vllm",
        ("vllm serve {folder} --dtype float32 --max-model-len {context} --enable-expert-parallel",),
        _asked(8000),
        f"{UNTESTED}; it wants a GPU",
    ),
    Elsewhere(
        "SGLang",
        "pip install sglang",
        ("python -m sglang.launch_server --model-path {folder} --context-length {context} --port 8000",),
        _asked(8000),
        f"{UNTESTED}; it wants a GPU",
    ),
    Elsewhere(
        "llama.cpp",
        "git clone https://github.com/ggml-org/llama.cpp",
        (
            "python llama.cpp/convert_hf_to_gguf.py {folder} --outtype f32 --outfile model.gguf",
            "llama-server -m model.gguf -c {context} --port 8000",
        ),
        _asked(8000),
        f"{UNTESTED}; its converter knows tokenizers by name and may refuse one of bytes",
    ),
)
"""What was not tried is said to be untested: the folder is Mixtral's, which all of them know."""


def how_to_serve(folder: str | Path, context: int = 128) -> str:
    """Return the commands that serve an exported folder, one way after the other.

    Parameters
    ----------
    folder : path
        Written by `moe-lessons export` or `moe_lessons.interop.exporting.export_model`.
    context : int
        The model's.

    Examples
    --------
    >>> print(how_to_serve("my-model").splitlines()[2])
    transformers serve my-model --device cpu --dtype float32 --port 8000
    """
    return "\n\n".join("\n".join(way.lines(folder, context)) for way in ELSEWHERE)
