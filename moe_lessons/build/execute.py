"""Run a solutions notebook and keep only what is the same in every run."""

import asyncio
import os
import tempfile
from pathlib import Path
from unittest import mock

from nbclient import NotebookClient
from nbformat import NotebookNode

from moe_lessons.front import asleep

EXPLORABLE = "explorable"  # in an output's metadata: the picture is an explorable's
_WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(built: NotebookNode, folder: Path, *, timeout: int = 900) -> NotebookNode:
    """Execute in ``folder`` with progress kept apart from the user's own; raises on the first error."""
    metadata = dict(built.metadata)
    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, MOE_LESSONS_HOME=home):
        client = NotebookClient(
            built,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": str(folder)}},
        )
        asyncio.run(client.async_execute())  # unlike execute(), leaves no open event loop behind
    built.metadata = NotebookNode(metadata)  # the kernel adds its Python version
    for cell in built.cells:
        if cell.cell_type == "code":
            kept = [output for output in map(_stable, cell.outputs) if output is not None]
            cell.outputs = _joined(kept)
            cell.metadata.pop("execution", None)
    return built


def _stable(output: NotebookNode) -> NotebookNode | None:
    """Drop widgets, as their model ids are random and nothing shows without a kernel, and empty displays."""
    data = output.get("data", {})
    if output.output_type == "display_data" and not data:
        return None  # what was shown while the cell ran, taken away when it ended
    if f'class="{asleep.TWIN} moe-asleep"' in data.get("text/html", ""):
        return None  # what stands in for a widget, which is dropped below
    if data.pop(_WIDGET, None) is not None:
        if "image/svg+xml" in data:
            # Its text stays: a notebook that is not trusted shows no drawing.
            output.metadata[EXPLORABLE] = True
        else:
            data.pop("text/plain", None)
        if not data:
            return None
    output.pop("transient", None)
    return output


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join what was printed in one go: a kernel sends it in as many pieces as time happens to cut it."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined
