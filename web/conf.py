"""Sphinx's settings for the course's site; ``moe_lessons.build.site`` writes the pages (`make site`)."""

import importlib
import inspect
import re
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
sys.path.insert(0, str(WEB.parent))

from moe_lessons.build import paths  # noqa: E402
from moe_lessons.build.site.reference import source_url  # noqa: E402

project = "MoE Lessons"
copyright = "the MoE Lessons contributors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "sphinx.ext.githubpages",
    "moe_lessons.build.site.maths",
]

# Lessons: outputs as they are.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
# A name such as Trace stands in two rooms, and an annotation does not say which is meant.
suppress_warnings = ["ref.python"]

# The reference: docstrings are numpydoc, and a name in back-quotes is a link where it leads somewhere.
default_role = "py:obj"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
html_title = "MoE Lessons"
html_static_path = [str(paths.PICTURES), str(WEB / "theme")]
html_css_files = ["drawings.css", "site.css"]
html_js_files = ["site.js"]
if tags.has("alive"):  # noqa: F821 (Sphinx gives it); web/bundle.py puts the script there
    html_js_files.append(("course.js", {"type": "module"}))
html_math_renderer = "mathml"
html_favicon = str(WEB / "theme" / "favicon.svg")
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#5b3fb0", "color-brand-content": "#5b3fb0"},
    "dark_css_variables": {"color-brand-primary": "#b9aee8", "color-brand-content": "#b9aee8"},
    "footer_icons": [
        {"name": "GitHub", "url": f"https://github.com/{paths.slug()}", "html": "The repository", "class": ""}
    ],
}


def setup(app):
    """Docstrings are numpydoc: |x| is an absolute value in them, no substitution."""
    app.connect("autodoc-process-docstring", _plain_bars)


def _plain_bars(app, what, name, object, options, lines):
    lines[:] = [re.sub(r"(?<![`\w])\|(?=\w+\|)", r"\\|", line) for line in lines]


def linkcode_resolve(domain, info):
    """The lines in the repository where something is defined; None for what has no lines of its own."""
    found = importlib.import_module(info["module"])
    try:
        for part in info["fullname"].split("."):
            found = getattr(found, part)
        lines, first = inspect.getsourcelines(inspect.unwrap(getattr(found, "fget", found)))
    except (AttributeError, OSError, TypeError):
        return None
    return source_url(info["module"], first, first + len(lines) - 1)
