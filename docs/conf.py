"""How the pages are built: ``sphinx-build -W --keep-going docs docs/_build``, offline."""

import sys
import warnings
from pathlib import Path

import fastsoftres

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fastsoftres"
author = "The fastsoftres developers"
copyright = f"2026, {author}"
version = release = fastsoftres.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "links",
]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "gallery", "**/GALLERY_HEADER.rst"]

templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections tell them
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "capture_repr": ("_repr_html_",),  # tables, but not what a plotting call happens to return
}
warnings.filterwarnings("error", module="fastsoftres")

html_theme = "pydata_sphinx_theme"
html_title = "fastsoftres"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False, "show_toc_level": 2}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False


def _skip(app, what, name, obj, skip, options):
    """scikit-learn's metadata routing adds methods whose text refers to scikit-learn's own pages."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    """Connect what is above."""
    app.connect("autodoc-skip-member", _skip)
