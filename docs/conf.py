"""Settings of the documentation's build: ``python -m sphinx -W -n -b html docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from soxspipe import __version__

project = "soxspipe"
author = "the soxspipe developers"
copyright = f"{author}; GPL 3 or later"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "from_package", "mathml_renderer"]
exclude_patterns = ["_build", "_ext"]

# a name in single backticks is a link, here and in docstrings; one that leads nowhere is an error
default_role = "py:obj"
nitpicky = True
# Names of other projects: their documentation is not at hand while this one is built without a network.
nitpick_ignore_regex = [(r"py:.*", r"(abc|collections\.abc|pathlib|typing|numpy|astropy|ccdproc)\..*")]

autodoc_member_order = "bysource"
# the numpydoc sections of the docstrings hold the types, with shapes and units; signatures stay readable
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"soxspipe {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["soxspipe.css"]
pygments_style = "friendly"
