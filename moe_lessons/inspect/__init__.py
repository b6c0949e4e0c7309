"""The microscope: what the router of a model does with a text, as a trace to keep and a page to read.

`loading` finds a model and its tokenizer, `texts` cuts the text, `recording` runs the model and catches each
layer's choice, `trace` keeps it, `analysis` says what is in it, `report` writes the page. `learning` watches
a small model learn three kinds of text.
"""

from moe_lessons.lazy import lazy

_EXPORTS = {
    "InspectError": "trace",
    "LayerTrace": "trace",
    "Trace": "trace",
    "findings": "analysis",
    "load_trace": "trace",
    "record": "recording",
    "save_trace": "trace",
    "write_report": "report",
}

__all__ = [
    "InspectError",
    "LayerTrace",
    "Trace",
    "findings",
    "load_trace",
    "record",
    "save_trace",
    "write_report",
]

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
