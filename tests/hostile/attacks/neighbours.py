"""Messages to answers that run at the same time, through what both see: each way must be refused."""

from attacks.cell import refused

_FILE = "file = open(os.__file__)"

NEIGHBOURS = {
    "a lock on a shared file": refused(
        f"import fcntl, os\n{_FILE}\nfcntl.flock(file, fcntl.LOCK_SH)", "locked a file"
    ),
    "a lock on a part of it": refused(
        f"import fcntl, os\n{_FILE}\nfcntl.lockf(file, fcntl.LOCK_SH)", "locked a part"
    ),
    "a lock of an open file": refused(
        f"""
        import fcntl, os, struct
        {_FILE}
        fcntl.fcntl(file, 37, struct.pack('hhqqii', 0, 0, 0, 0, 0, 0))""",
        "locked an open file",
    ),
    "a lease": refused(f"import fcntl, os\n{_FILE}\nfcntl.fcntl(file, 1024, fcntl.F_RDLCK)", "took a lease"),
    "watching a folder": refused(
        """
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        watch = library.inotify_init1(0)
        if watch < 0 or library.inotify_add_watch(watch, b'/usr', 0xFFF) < 0: raise OSError""",
        "watches a folder",
    ),
    "notes on a folder": refused(
        "import fcntl, os\nfcntl.fcntl(os.open('/', os.O_RDONLY), 1026, 2)", "notes"
    ),
    "a shared mapping": refused(
        f"import mmap, os\n{_FILE}\nmmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)", "shares memory"
    ),
    "which pages are in memory": refused(
        f"""
        import ctypes, mmap, os
        {_FILE}
        pages = mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE)
        place = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        if ctypes.CDLL(None).mincore(ctypes.c_void_p(place), 4096, bytes(1)) < 0: raise OSError""",
        "sees what others read",
    ),
    "a pipe's size for all": refused(
        "import fcntl, os\nfcntl.fcntl(os.pipe()[1], 1031, 1 << 20)", "took pipes"
    ),
}
