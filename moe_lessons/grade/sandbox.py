"""The sandbox that answers run in: bubblewrap with a view of Python, torch and numpy, and no network.

The warm parent runs inside it, and a jail within it holds each worker (see ``jail``). Neither the solutions
nor the references, the specs, other submissions, the results or anything of the user's is mounted.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import moe_lessons
from moe_lessons.grade import guard, jail, kit, libraries, seccomp

KIT = "/kit"
ISOLATED = ("-P", "-s")
"""No current folder and no user's packages on the path. Not ``-I``: the environment is all ours, and holds
the seed of hashes."""
_FIRST_USER = 1_900_000_000
"""Numbers of users that no system gives out; each run of the grader's takes its own."""
_PROBE_SECONDS = 180.0
"""It imports torch, which takes long on a machine that is busy."""
_INSTALL = "apt-get install bubblewrap (Debian, Ubuntu) or dnf install bubblewrap (Fedora)"
_NAMESPACES = "user namespaces may be off; in a container: start it with --privileged"
_REMEDIES = (
    ("No module named", "install torch, numpy and scipy with pip for the Python that runs this"),
    ("shared object", "a library that torch needs lies where the sandbox shows nothing"),
    ("uid map", "on Ubuntu 24.04: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ("Errno 13", "can every user read the Python that runs this?"),
    ("ermi", _NAMESPACES),
)


def user() -> int:
    """The number of the user that workers become: no one for root, else the same user without rights."""
    return _FIRST_USER + os.getpid() if os.getuid() == 0 else os.getuid()


def scratch() -> str:
    """The folder for an answer's temporary files: not /tmp if Python or a package lies below that."""
    below = [path for path in (*_shown(), *_packages()) if Path(path).is_relative_to("/tmp")]
    return "/scratch" if below else "/tmp"


def reach() -> list[tuple[str, str]]:
    """All that an answer can reach of files, with the reason: a test walks it and finds nothing more."""
    return [
        *((path, "shared libraries of the system") for path in (*_SYSTEM, "/lib", "/lib64")),
        *((path, "Python and its standard library") for path in _shown()),
        *((path, "torch, numpy, scipy, triton, matplotlib, tqdm and what they need") for path in _packages()),
        *((path, "no data of anyone's") for path in _DEVICES),
        (_CPU, "copies of what PyTorch reads about the processor"),
        (KIT, "what runs answers: neither references nor specs of exercises"),
        ("/proc", "empty"),
        ("/tmp", "empty, or the answer's own temporary files"),
        (scratch(), "the answer's own temporary files"),
    ]


def command(folder: Path, words: list[str]) -> list[str]:
    """What starts the kit in ``folder`` inside the sandbox."""
    return [
        *_BUBBLEWRAP,
        *_namespaces(),
        *_view(folder),
        *("--chdir", "/tmp", "--", os.path.realpath(sys.executable), *ISOLATED, "-S"),
        *(f"{KIT}/start.py", *words),
    ]


@cache
def problem() -> str | None:
    """Why answers cannot be sandboxed here, with the remedy, in one line; None if they can.

    Really goes through it all once, as a worker would, and tries what must be refused.
    """
    if sys.platform != "linux":
        return "the sandbox needs Linux: grade in a Linux machine or container"
    if not shutil.which(_BUBBLEWRAP[0]):
        return f"bubblewrap is not installed: {_INSTALL}"
    with guard.workplace() as place, kit.folder(place) as folder:
        try:
            tried = subprocess.run(
                command(folder, ["probe", str(user())]),
                env=kit.environment(scratch()),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROBE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"the sandbox does not work here: no sign of life within {_PROBE_SECONDS:g} s; try again"
    if tried.returncode == 0 and tried.stdout.strip() == "held":
        return None
    # What was found is on stdout; what failed on stderr, before what nanobind (Triton 3.9) says as it ends.
    could = tried.stdout.strip()
    wrong = tried.stderr.partition("nanobind: ")[0].strip() or "it ended without a word"
    said = f"an answer could {could.splitlines()[-1]}" if could else wrong.splitlines()[-1]
    remedy = next((f" ({remedy})" for part, remedy in _REMEDIES if part in said), "")
    return f"the sandbox does not work here: {said[:200]}{remedy}"


def description() -> str:
    """What the sandbox is, in one sentence for results."""
    filtered = "filtered system calls" if seccomp.known() else "no filter on system calls on this machine"
    return (
        "Answers ran in bubblewrap: no network, a read-only view of Python, torch and numpy, namespaces and "
        f"{jail.SCRATCH >> 20} MB of temporary files for each answer, {filtered}; limits on memory, "
        "processes, files and time."
    )


_SYSTEM = ("/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
_CPU = "/sys/devices/system/cpu"
_BUBBLEWRAP = ("bwrap", "--die-with-parent", "--new-session")


def _namespaces() -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--cap-drop", "ALL")
    # The warm parent makes each worker's jail, for which it keeps these; workers keep none.
    kept = ["CAP_SYS_ADMIN", "CAP_SETPCAP"]
    if os.getuid() == 0:
        kept += ["CAP_SETUID", "CAP_SETGID"]
    else:
        yield "--unshare-user"
    for capability in kept:
        yield from ("--cap-add", capability)


def _view(folder: Path) -> Iterator[str]:
    shown, packages = _shown(), _packages()
    # Left alone, bubblewrap makes the folders above a mount unreadable for other users.
    places = (*_SYSTEM, *_DEVICES, _CPU, *shown, *packages)
    above = {str(parent) for path in places for parent in Path(path).parents}
    # First, since the course itself may be installed below /tmp.
    yield from ("--proc", "/proc", "--tmpfs", "/tmp")
    for path in sorted((above | {scratch()}) - {"/", "/tmp"}):
        yield from ("--perms", "0755", "--dir", path)
    for path in _SYSTEM:
        yield from ("--ro-bind-try", path, path)
    for path in ("/lib", "/lib64"):
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        else:
            yield from ("--ro-bind-try", path, path)
    for path in shown:
        yield from ("--ro-bind", path, path)
    # Of what else is installed, nothing: not this package, nor others that hold an exercise's answer.
    everywhere = {*map(str, libraries.needed()), *_site_folders()}
    ours = Path(moe_lessons.__file__).parent
    if any(ours.is_relative_to(path) for path in (*_SYSTEM, *shown)):
        everywhere.add(str(ours))
    hidden = [path for path in sorted(everywhere) if os.path.isdir(path)]
    for path in hidden:
        yield from ("--perms", "0755", "--tmpfs", path)
    for path in packages:
        yield from ("--ro-bind", path, path)
    # Not bubblewrap's own /dev: for its terminals an ordinary user would need a second user namespace.
    for path in _DEVICES:
        yield from ("--dev-bind", path, path)
    yield from ("--ro-bind", str(folder), KIT)
    yield from ("--ro-bind", str(folder / "cpu"), _CPU)
    # An ordinary user owns these folders, and what one answer leaves there another would find.
    for path in ("/", "/tmp", *hidden):
        yield from ("--remount-ro", path)


def _shown() -> list[str]:
    """Python, the shared libraries that come with it, and the standard library, mostly within."""
    folders = sorted({os.path.join(sys.base_prefix, "lib"), sysconfig.get_path("stdlib")})
    found = (os.path.realpath(sys.executable), *folders)
    return [path for path in found if not path.startswith("/usr/lib/") and os.path.exists(path)]


def _packages() -> list[str]:
    return [str(path) for paths in libraries.needed().values() for path in paths]


def _site_folders() -> set[str]:
    stdlib = sysconfig.get_path("stdlib")
    return {os.path.join(stdlib, name) for name in ("site-packages", "dist-packages")}
