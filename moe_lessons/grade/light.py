"""Imported before nbformat, keeps it light: without a grammar of international web addresses.

nbformat imports jsonschema, which builds that grammar where `rfc3987_syntax` is installed, and JupyterLab
brings it: a second and 17 MB in every process that grades. No field of a notebook is of that kind.
"""

import sys

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # so its import fails, as if not there
