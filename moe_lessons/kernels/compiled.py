"""Compile kernels for GPUs that are not here, and read from the machine code what they will use."""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from torch import Tensor

from moe_lessons.kernels.tiles import Tile

SHARED_LIMIT_BYTES = {80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024}
LOOP_SPILL_LIMIT = 2  # reloads that hide behind a round's matrix instructions
SPILL_LIMIT_BYTES = 64  # as many as a kernel may park outside its loop, where it costs next to nothing
_SASS = {
    "wgmma": r"\b[HIQ]GMMA\.",  # Hopper's matrix unit, fed by a group of four warps from shared memory
    "mma": r"\b[HIQ]MMA\.",  # the matrix unit as Ampere has it, fed by one warp from registers
    "async_copies": r"\bLDGSTS\.",
    "tma_copies": r"\bUTMALDG\b",  # a whole block at once, fetched by Hopper's copy engine
    "atomics": r"\b(ATOM|ATOMG|ATOMS|RED|REDG)\b",
    "local_memory": r"\b(LDL|STL)\b",
}
_INTERPRETED = "TRITON_INTERPRET is set: compile in a process that starts without it"


class Launch(NamedTuple):
    """One start of a kernel: its arguments by name, and the options it was given."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]


class Machine(NamedTuple):
    """What one compiled kernel uses.

    `registers` per thread (255 at most), `shared_bytes` per program, `spill_bytes` of stack per thread, and
    how often instructions of a kind stand in the machine code: `wgmma`, `mma`, `async_copies`, `tma_copies`,
    `atomics`, `local_memory` (accesses to what was spilled), `loop_spills` (those among them that stand in an
    innermost loop that multiplies).
    """

    registers: int
    shared_bytes: int
    spill_bytes: int
    wgmma: int
    mma: int
    async_copies: int
    tma_copies: int
    atomics: int
    local_memory: int
    loop_spills: int


def record_launches(call: Callable[[], object]) -> list[Launch]:
    """Run `call` and note the kernels it would start, starting none.

    With tensors on PyTorch's "meta" device, which have shapes and no contents, this also proves that the host
    reads no value from a tensor: it would raise.
    """
    launches = []

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        arguments = dict(zip(self.arg_names, args, strict=False))
        arguments |= {name: options.pop(name) for name in self.arg_names if name in options}
        launches.append(Launch(self, grid, arguments, options))

    with mock.patch.object(triton.JITFunction, "run", run):
        call()
    return launches


def compile_launch(launch: Launch, capability: int) -> Any:
    """Compile one launch for a compute capability, as it would be compiled on such a GPU.

    Parameters
    ----------
    launch : Launch
        As `record_launches` notes it. As at a real launch, addresses and sizes that are multiples of 16 are
        compiled as such, and a size of 1 as a constant.
    capability : int
        Such as 80 (A100) or 90 (H100).

    Returns
    -------
    triton.compiler.CompiledKernel
        With every stage in `asm`: "ttir", "ttgir", "llir", "ptx", "cubin".

    Raises
    ------
    RuntimeError
        In a process where Triton is in interpreter mode.
    """
    from triton.backends.compiler import GPUTarget

    options = {"enable_fp_fusion": True, **launch.options}  # Triton 3.9 warns where this is not said
    return triton.compile(_source(launch), target=GPUTarget("cuda", capability, 32), options=options)


def compile_for_the_cache(launch: Launch, capability: int) -> Any:
    """Compile one launch by Triton's own launcher: the launch itself will find it in Triton's cache.

    Where there is a GPU, for that GPU; else `capability` decides, and a driver that knows nothing but it
    stands in. Returns and raises what `compile_launch` does.
    """
    from moe_lessons.kernels.common import INTERPRETED

    if INTERPRETED:
        raise RuntimeError(_INTERPRETED)
    stand_in = mock.patch.object(type(triton.runtime.driver), "active", _Driver(capability))
    with contextlib.nullcontext() if torch.cuda.is_available() else stand_in:
        arguments = launch.arguments.values()
        return launch.kernel.run(*arguments, grid=launch.grid, warmup=True, **launch.options)


class _Driver:
    """As much of Triton's driver as compiling asks for. The "device" keeps one capability's kernels apart."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


def shortcomings(machine: Machine, tile: Tile, capability: int) -> list[str]:
    """Say what rules out a matrix kernel before any measurement; empty if it is worth one.

    Parameters
    ----------
    machine : Machine
    tile : Tile
        What it was compiled with.
    capability : int
        A key of `SHARED_LIMIT_BYTES`.

    Examples
    --------
    >>> shortcomings(Machine(255, 250_000, 80, 8, 0, 12, 0, 0, 20, 0), Tile(128, 256, 64, 8, 4), 90)
    ['spills 80 bytes per thread', 'needs 250000 bytes of shared memory, there are 232448']
    """
    room, unit = SHARED_LIMIT_BYTES[capability], machine.wgmma
    if capability < 90 or tile.m < 64:  # wgmma takes 64 rows at least
        unit += machine.mma
    found = {
        f"spills {machine.spill_bytes} bytes per thread": machine.spill_bytes > SPILL_LIMIT_BYTES,
        f"spills {machine.loop_spills} times in its loop": machine.loop_spills > LOOP_SPILL_LIMIT,
        f"needs {machine.shared_bytes} bytes of shared memory, there are {room}": machine.shared_bytes > room,
        "multiplies off the GPU's matrix unit": unit == 0,
        "tma=True, and no copy goes through the copy engine": tile.tma and machine.tma_copies == 0,
        f"{machine.atomics} atomic operations": machine.atomics > 0,
    }
    return [line for line, holds in found.items() if holds]


def intermediate_code(launch: Launch) -> str:
    """The text of a launch in Triton's first stage, before any optimisation: quick, and near the source."""
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import make_backend

    target, source, context = GPUTarget("cuda", 80, 32), _source(launch), ir.context()
    backend = make_backend(target)
    options = backend.parse_options(dict(launch.options))
    ir.load_dialects(context)
    backend.load_dialects(context)
    code_generation = backend.get_codegen_implementation(options)
    return str(source.make_ir(target, options, code_generation, backend.get_module_map(), context))


def narrow_products(code: str) -> list[str]:
    """The 32-bit multiplications by a width or a stride, where offsets into large tensors wrap around.

    Parameters
    ----------
    code : str
        Of `intermediate_code`, or "ttir" of a compiled kernel. Widths and strides are told by their names:
        `d_model`, `n_in`, `stride_k` and the like.
    """
    sizes = widths(code)
    found = []
    for line in code.splitlines():
        made = re.match(r"\s*(%\w+) = (\S+) (.*?) :.*?(\S+)(?: loc|$)", line)
        if not made:
            continue
        name, operation, operands, dtype = made.groups()
        uses = {operand.strip() for operand in operands.split(",")} & sizes
        if uses and operation in ("tt.splat", "tt.broadcast", "tt.expand_dims"):
            sizes.add(name)
        elif uses and operation == "arith.muli" and "i32" in dtype:
            found.append(line.strip())
    return found


def widths(code: str) -> set[str]:
    """The widths and strides that a text names; where there are none, `narrow_products` sees nothing."""
    return set(re.findall(r"(%(?:d_\w+|n_in|n_out|n_m|n_n|stride_\w+)): i32", code))


def _source(launch: Launch) -> Any:
    from triton.compiler import ASTSource

    from moe_lessons.kernels.common import INTERPRETED

    if INTERPRETED:
        raise RuntimeError(_INTERPRETED)
    signature, constants, attributes = {}, {}, {}
    for index, (name, value) in enumerate(launch.arguments.items()):
        is_constexpr = launch.kernel.params[index].is_constexpr
        if is_constexpr or value is None or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = triton.runtime.jit.mangle_type(value)
        if isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0):
            attributes[(index,)] = [["tt.divisibility", 16]]
    return ASTSource(launch.kernel, signature, constants, attributes)


def read_machine_code(binary: Any) -> Machine:
    """Disassemble what `compile_launch` returned, with the tools that come with Triton."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(binary.asm["cubin"])
        command = [str(tool), "-res-usage", "-sass", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", text).groups()  # type: ignore[union-attr]
    counts = {name: len(re.findall(pattern, text)) for name, pattern in _SASS.items()}
    return Machine(
        int(registers), binary.metadata.shared, int(stack), **counts, loop_spills=loop_spills(text)
    )


def loop_spills(text: str) -> int:
    """Count accesses to spilled registers in the innermost loops that multiply, in a disassembly.

    A loop is what lies between a branch and the earlier instruction that it leads to.
    """
    lines = {int(at, 16): line for at, line in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", text)}
    jumps = [(re.search(r"\bBRA\b.*?0x([0-9a-f]+)", line), at) for at, line in lines.items()]
    loops = [(int(jump[1], 16), at) for jump, at in jumps if jump and int(jump[1], 16) < at]

    def count(pattern: str, start: int, end: int) -> int:
        return sum(bool(re.search(pattern, line)) for at, line in lines.items() if start <= at <= end)

    loops = [loop for loop in loops if count(r"\b(FFMA|\w*GMMA|[HIQ]MMA)\b", *loop)]
    around = [a for a in loops for b in loops if a != b and a[0] <= b[0] and b[1] <= a[1]]
    return sum(count(_SASS["local_memory"], *loop) for loop in loops if loop not in around)


def moe_launches(
    n_tokens: int, d_model: int, d_expert: int, n_experts: int, top_k: int, dtype: torch.dtype, tiles: Any
) -> dict[str, Launch]:
    """Note every launch of one forward and backward pass of the MoE, by the name of its step."""
    from moe_lessons.kernels import moe

    def meta(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    hidden_TD, ids_TK = meta(n_tokens, d_model), meta(n_tokens, top_k, dtype=torch.int64)
    weights_TK = meta(n_tokens, top_k, dtype=torch.float32)
    gate_up, down = meta(n_experts, 2 * d_expert, d_model), meta(n_experts, d_model, d_expert)

    def both() -> None:
        output_TD, pre_S2F, plan = moe.forward(hidden_TD, ids_TK, weights_TK, gate_up, down, tiles, True)
        moe.backward(
            output_TD, hidden_TD, weights_TK, gate_up, down, pre_S2F, plan, tiles, needs=[True, True, True]
        )

    return dict(zip(STEPS, record_launches(both), strict=True))


STEPS = (
    "plan",
    "up",
    "down",
    "combine",
    "pre_gradient",
    "hidden_gradient",
    "hidden_combine",
    "gate_up_gradient",
    "down_gradient",
)
