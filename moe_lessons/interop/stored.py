"""Weights on disk, a tensor at a time: a folder of safetensors to read, and a file to write."""

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from moe_lessons.interop.folders import InteropError, read_json

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
CODES = {dtype: code for code, dtype in DTYPES.items()}
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Spec(NamedTuple):
    """What a tensor is before it is there."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class StoredWeights:
    """The tensors of a folder, in one file or in several with an index; read when asked for.

    Keys are as Mixtral's checkpoints spell them: where transformers 5 says `.mlp.`, that becomes
    `.block_sparse_moe.`.

    Raises
    ------
    InteropError
        If there are no safetensors, or a file is damaged, or one that the index names is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home: dict[str, tuple[str, str]] = {}  # key -> file, key there
        self._open = {name: _open(folder / name) for name in self._files()}
        for name, handle in self._open.items():
            for key in handle.keys():  # noqa: SIM118  (it is no dictionary)
                self._home[key.replace(".mlp.", ".block_sparse_moe.")] = name, key
        self._check_index()

    def _files(self) -> list[str]:
        if not self.folder.is_dir():
            raise InteropError(f"{self.folder} is not a folder: give one with config.json and safetensors")
        if (self.folder / INDEX).is_file():
            names = sorted(set(self._index().values()))
            if outside := [name for name in names if Path(name).name != name]:
                raise InteropError(f"{INDEX} points outside its folder, to {outside[0]!r}")
            return names
        if (self.folder / SINGLE).is_file():
            return [SINGLE]
        if pickled := sorted(path.name for path in self.folder.glob("*.bin")):
            raise InteropError(
                f"{self.folder} holds pickled weights only ({pickled[0]}), which could run any code; "
                "save it as safetensors first"
            )
        raise InteropError(f"{self.folder} holds no {SINGLE} and no {INDEX}")

    def _index(self) -> dict[str, str]:
        weight_map = read_json(self.folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise InteropError(f"{self.folder / INDEX} has no weight_map")
        return weight_map

    def _check_index(self) -> None:
        if not (self.folder / INDEX).is_file():
            return
        there = {there: name for name, there in self._home.values()}
        for key, name in self._index().items():
            if there.get(key) != name:
                raise InteropError(f"{INDEX} says that {key} is in {name}: it is not")

    @property
    def keys(self) -> set[str]:
        """The names of the tensors."""
        return set(self._home)

    def spec(self, key: str) -> Spec:
        """Return a tensor's dtype and shape without reading it.

        Raises
        ------
        InteropError
            If the numbers are of a kind that has no place in a model here, such as a quantised one.
        """
        name, there = self._home[key]
        part = self._open[name].get_slice(there)
        code = part.get_dtype()
        if code not in DTYPES:
            raise InteropError(f"{key} has dtype {code}: give weights in {', '.join(DTYPES)}")
        return Spec(DTYPES[code], tuple(part.get_shape()))

    def read(self, key: str) -> Tensor:
        """Read one tensor."""
        name, there = self._home[key]
        return self._open[name].get_tensor(there)


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InteropError(f"cannot read {path}: {reason}") from error


def write_safetensors(path: Path, specs: dict[str, Spec], read: Callable[[str], Tensor]) -> None:
    """Write tensors one after the other, so that no two need to be in memory at once.

    The format is eight bytes with the length of a header, the header in JSON, and the tensors' bytes.

    Parameters
    ----------
    path : Path
    specs : dict of str to Spec
    read : callable
        Returns the tensor of a name; it is brought to the dtype that its `Spec` says.

    Raises
    ------
    ValueError
        If a tensor's shape is not that of its `Spec`.

    References
    ----------
    https://github.com/huggingface/safetensors#format
    """
    # Wide numbers first: each then begins at a multiple of its width, however odd the shapes.
    order = sorted(specs, key=lambda name: -specs[name].dtype.itemsize)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        dtype, shape = specs[name]
        start, end = end, end + dtype.itemsize * prod(shape)
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            dtype, shape = specs[name]
            tensor = read(name).detach().to("cpu", dtype).contiguous()
            if tensor.shape != shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}: {shape} was announced")
            file.write(tensor.flatten().view(torch.uint8).numpy().data)
