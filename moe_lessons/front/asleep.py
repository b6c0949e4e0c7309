"""What a notebook shows, opened again, where the state of its widgets was not kept.

JupyterLab keeps it only where a setting says so, which comes with the course. Elsewhere a widget's output is
one line then, "Error displaying widget: model not found"; no other part of its bundle is looked at any more.
So the output before it brings a style, which hides that line, and shows what it has itself in its place.
"""

TWIN = "moe-twin"
"""The class of what stands in the output before a widget's."""

_CHILD = ".jp-OutputArea-child"
# Only a widget without a model has this class itself; all that it holds is a line of text.
_LOST = ".jp-OutputArea-output.jupyter-widgets"
STYLE = f"<style>{_CHILD}:has(.{TWIN}) + {_CHILD} > {_LOST}:not(:has(*)){{display:none}}</style>"
"""Hides a widget without a model, after an output that has a twin."""

_SHOWN = (
    f"<style>{_CHILD}:has(+ {_CHILD} > {_LOST}) .moe-asleep{{display:block!important}}"
    f"{_CHILD}:has(+ {_CHILD} > {_LOST} > *) .moe-asleep{{display:none!important}}</style>"
)


def still(picture: str) -> str:
    """HTML that only JupyterLab and Notebook show, and only while the widget after it has no model.

    Parameters
    ----------
    picture : str
        SVG.

    Examples
    --------
    >>> "Run this cell to bring it to life." in still("<svg/>")
    True
    """
    words = "<p><em>This is a still picture. Run this cell to bring it to life.</em></p>"
    return f'<div class="{TWIN} moe-asleep" style="display:none">{STYLE}{_SHOWN}{words}{picture}</div>'
