"""A Sphinx extension: formulas as MathML, which browsers draw themselves, without a script."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def mathml(formula: str, *, block: bool = False) -> str:
    """A formula in LaTeX as a ``<math>`` element that keeps its LaTeX as alternative text.

    Examples
    --------
    >>> mathml("K/E")[:62]
    '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inli'
    """
    return convert(" ".join(formula.split()), display="block" if block else "inline")


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    formula = mathml(node.astext(), block=True)
    translator.body.append(
        f'<div class="formula" tabindex="0" role="group" aria-label="formula">{formula}</div>'
    )
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
