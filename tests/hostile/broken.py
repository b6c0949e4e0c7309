"""Files that are no readable notebooks, or that try to make the reader fall over."""

import io
import json
import tarfile
import zipfile


def _zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escape.ipynb", "{}")
    return file.getvalue()


def _tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz"):
        pass
    return file.getvalue()


def _notebook(**changed):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [], **changed}).encode()


FILES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\t\n",
    "no json": b"print('I am a notebook')",
    "cut off": b'{"cells": [{"cell_type": "co',
    "merge conflict": b'{"cells": [\n<<<<<<< HEAD\n],\n=======\n]\n>>>>>>> theirs\n}',
    "latin-1": '{"nbformat": 4, "cells": [], "metadata": {"name": "Zoë"}}'.encode("latin-1"),
    "utf-16": '{"nbformat": 4, "cells": []}'.encode("utf-16"),
    "zeros": bytes(4096),
    "a list": b"[1, 2, 3]",
    "a number": b"4",
    "json with NaN": b'{"nbformat": NaN, "cells": []}',
    "format 3": b'{"nbformat": 3, "worksheets": [{"cells": []}]}',
    "format 5": b'{"nbformat": 5, "cells": []}',
    "format as text": b'{"nbformat": "4", "cells": []}',
    "no cells": b'{"nbformat": 4, "metadata": {}}',
    "cells are an object": b'{"nbformat": 4, "cells": {"0": {}}}',
    "cells of nothing": _notebook(cells=[None, 1, "x", []]),
    "cells without keys": _notebook(cells=[{}] * 10),
    "ten thousand cells": _notebook(cells=[{"cell_type": "code", "source": "", "metadata": {}}] * 10_000),
    "deep nesting": b"[" * 500_000,
    "deep nesting inside": b'{"nbformat": 4, "cells": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a number of a million digits": b'{"nbformat": ' + b"9" * 1_000_000 + b"}",
    "the same key a hundred thousand times": b'{"a": 1' + b', "a": 1' * 100_000 + b"}",
    "twenty-one megabytes": b" " * (21 << 20),
    "lone surrogates": _notebook(metadata={"moe_lessons": {"lesson": "\ud800\udfff\ud800"}}),
    "an archive by another name": _zip(),
    "a tar by another name": _tar(),
    "six million lists": _notebook(cells=[]).replace(b"[]", b"[" + b"[]," * 6_000_000 + b"[]]"),
    "format 4 with worksheets": b'{"nbformat": 4, "worksheets": [{"cells": []}], "cells": "see worksheets"}',
    "the same key twice": b'{"nbformat": 4, "cells": [], "metadata": {}, "cells": null}',
    "two thousand answers to nothing": _notebook(
        metadata={"moe_lessons": {"lesson": "01_router"}},
        cells=[
            {"cell_type": "code", "source": "", "metadata": {"moe_lessons": {"answer": f"|<b>{n}" * 9}}}
            for n in range(2000)
        ],
    ),
    "a pickle by another name": b"\x80\x04cposix\nsystem\n(S'touch /tmp/pickled'\ntR.",
}
