"""Sphinx's settings for the course's site. The pages are written by ``moe_lessons.build.site``; see `make site`."""

import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
sys.path.insert(0, str(WEB.parent))

from moe_lessons.build import paths

project = "MoE Lessons"
copyright = "the MoE Lessons contributors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.githubpages",
    "moe_lessons.build.site.maths",
]

# Lessons: outputs as they are.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]

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
html_title = "MoE Lessons"
# In this order; a file of a later folder replaces one of the same name.
html_static_path = [
    str(paths.PICTURES),
    str(paths.ROOT / "build" / "site-static"),
    str(WEB / "theme"),
    str(WEB / "static"),
]
html_css_files = ["drawings.css", "site.css"]
html_js_files = ["ledger.js"]
if (WEB / "static" / "course.js").is_file():
    html_js_files.append(("course.js", {"type": "module"}))
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": f"https://github.com/{paths.slug()}",
    "top_of_page_buttons": [],
    "footer_icons": [],
}
