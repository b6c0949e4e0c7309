"""A filter on system calls for workers: what no answer needs, and what attacks on a kernel begin with.

Namespaces and mounts already keep a worker from files and networks. This closes what they leave: sockets of
any kind (some, as ``AF_VSOCK``, know no network namespaces), memory that no limit counts, new programs, new
namespaces, tracing. It is the classic BPF that the kernel takes, written out: load, compare, return.
"""

import ctypes
import errno
import platform
import struct
import sys

# Numbers on x86_64 and on aarch64, from the kernel's own tables.
DENIED: dict[str, tuple[int, int | None]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "connect": (42, 203),
    "accept4": (288, 242),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "pidfd_getfd": (438, 438),
    "personality": (135, 92),
    "vmsplice": (278, 75),
    "fanotify_init": (300, 262),
    # What one answer sees its neighbours see: locks on it, and watching it, would be messages.
    "fanotify_mark": (301, 263),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "flock": (73, 32),
    "mincore": (27, 232),
    "readahead": (187, 213),
    "posix_fadvise": (221, 223),
    "cachestat": (451, 451),
    "syslog": (103, 116),
}
_CLONE, _CLONE3, _PRCTL, _PRLIMIT = (56, 220), 435, (157, 167), (302, 261)
_FCNTL, _MMAP = (72, 25), (9, 222)
_LOCKS_AND_WATCHES = (5, 6, 7, 36, 37, 38, 1024, 1025, 1026, 1031)
"""Commands of ``fcntl``: locks of a process and of an open file, leases, notes on changes, sizes of pipes."""
_MAP_SHARED, _MAP_ANONYMOUS = 1, 32
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_NAMESPACES = 0x7E020000  # any of the CLONE_NEW* flags
_SET_DUMPABLE = 4  # a process that crashes is else handed to a program of the system's, outside the sandbox
_X32 = 0x40000000
_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in the kernel's struct seccomp_data
_SET_SECCOMP, _FILTER = 22, 2


def known() -> bool:
    """Whether there is a filter for this machine."""
    return sys.platform == "linux" and platform.machine() in _MACHINES and sys.byteorder == "little"


def program() -> bytes:
    """The filter for this machine.

    Examples
    --------
    >>> len(program()) % 8
    0
    """
    column, machine = _MACHINES[platform.machine()]
    denied = [number for numbers in DENIED.values() if (number := numbers[column]) is not None]
    refuse, pretend_missing = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
    steps = [
        *_if(_EQUAL, _MACHINE, machine, otherwise=_KILL),
        *_if(_AT_LEAST, _NUMBER, _X32, then=refuse),
        *_if(_EQUAL, _NUMBER, _CLONE3, then=pretend_missing),  # the C library then uses clone
        *(step for number in denied for step in _if(_EQUAL, _NUMBER, number, then=refuse)),
        *_if_argument(_CLONE[column], _ANY_BIT, _NEW_NAMESPACES, then=refuse),
        *_if_argument(_PRCTL[column], _EQUAL, _SET_DUMPABLE, then=refuse),
        *_if_argument(_PRLIMIT[column], _AT_LEAST, 1, then=refuse),  # its own limits only, not its keeper's
        *(
            step
            for command in _LOCKS_AND_WATCHES
            for step in _if_argument(_FCNTL[column], _EQUAL, command, then=refuse, place=1)
        ),
        *_if_shares_a_file(_MMAP[column], then=refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def apply() -> None:
    """Put the filter on this process and all that it starts; OSError where the kernel refuses it."""
    if not known():
        return
    code = program()
    kept = ctypes.create_string_buffer(code, len(code))
    filter = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
    library = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(word) for word in (_SET_SECCOMP, _FILTER)]
    if library.prctl(*words, filter, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), "the filter on system calls was refused")


def _if(
    test: int, offset: int, value: int, *, then: int | None = None, otherwise: int | None = None
) -> list[tuple[int, int, int, int]]:
    """Steps that return where a comparison holds (``then``), or where it does not (``otherwise``)."""
    skip_if_true, action = (0, then) if then is not None else (1, otherwise)
    assert action is not None
    return [
        (_LOAD, 0, 0, offset),
        (test, skip_if_true, 1 - skip_if_true, value),
        (_RETURN, 0, 0, action),
    ]


def _if_argument(
    number: int, test: int, value: int, *, then: int, place: int = 0
) -> list[tuple[int, int, int, int]]:
    """Steps that return where a call has this number and an argument of it passes the test."""
    return [
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 3, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * place),
        (test, 0, 1, value),
        (_RETURN, 0, 0, then),
    ]


def _if_shares_a_file(number: int, *, then: int) -> list[tuple[int, int, int, int]]:
    """Steps that return where a file, which others may have too, is mapped so that they could wait on it."""
    return [
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * 3),
        (_AND, 0, 0, _MAP_SHARED | _MAP_ANONYMOUS),
        (_EQUAL, 0, 1, _MAP_SHARED),
        (_RETURN, 0, 0, then),
    ]
