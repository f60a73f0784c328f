"""Which notebooks of which projects are run, and what of them is not: each exception with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NUMPY = "import numpy as np"
PANDAS = f"{NUMPY}\nimport pandas as pd"
XARRAY = f"{PANDAS}\nimport xarray as xr"
NETWORK = "needs a network"
RANDOM = "draws random numbers"
CLOCK = "shows times"


@dataclass(frozen=True)
class ThirdParty:
    """One notebook, or another source of cells.

    Attributes
    ----------
    project : str
        Where it comes from.
    path : str
        A file in the project's source archive; or names of installed objects, whose examples are the cells.
    first : str
        A cell to run before, for what the text takes for granted.
    left_out : mapping of int to str
        Cells that are not run, by their index, with the reason.
    unrepeatable : mapping of int to str
        Cells that run, but put out something else each time, with the reason.
    """

    project: str
    path: str
    first: str = ""
    left_out: Mapping[int, str] = field(default_factory=dict)
    unrepeatable: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether the cells are in a file of the archive."""
        return self.path.endswith((".ipynb", ".py", ".rst"))

    @property
    def title(self) -> str:
        """How people call it."""
        return self.path.rpartition("/")[2] if self.is_file else self.path.split()[0].partition(":")[0] + " docstrings"


CATALOGUE = [
    ThirdParty("nbsphinx", "doc/code-cells.ipynb", left_out={11: NETWORK}),
    ThirdParty("nbsphinx", "doc/allow-errors.ipynb"),
    ThirdParty("nbclient", "tests/files/Clear Output.ipynb"),
    ThirdParty("nbclient", "tests/files/Output.ipynb"),
    ThirdParty("nbclient", "tests/files/update-display-id.ipynb"),
    ThirdParty("nbclient", "tests/files/SVG.ipynb"),
    ThirdParty("nbclient", "tests/files/Inline Image.ipynb"),
    ThirdParty("nbclient", "tests/files/Skip Exceptions with Cell Tags.ipynb"),
    ThirdParty("nbclient", "tests/files/Disable Stdin.ipynb"),
    ThirdParty("nbclient", "tests/files/JupyterWidgets.ipynb"),
    ThirdParty("nbclient", "tests/files/Check History in Memory.ipynb"),
    ThirdParty("nbconvert", "tests/exporters/files/notebook2.ipynb", unrepeatable={6: RANDOM}),
    ThirdParty("nbconvert", "tests/exporters/files/svg.ipynb"),
    ThirdParty("nbconvert", "tests/exporters/files/pngmetadata.ipynb"),
    ThirdParty("nbconvert", "tests/exporters/files/rst_output.ipynb"),
    ThirdParty("nbconvert", "tests/files/notebook1.ipynb"),
    ThirdParty("nbconvert", "tests/files/notebook3_with_errors.ipynb"),
    ThirdParty("nbconvert", "tests/files/markdown_display_priority.ipynb"),
    ThirdParty("nbconvert", "tests/files/Widget_List.ipynb"),
    ThirdParty("nbval", "tests/sample_notebook.ipynb"),
    ThirdParty("nbval", "tests/exceptions.ipynb"),
    ThirdParty("nbval", "tests/test_coalesce.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/broken2.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/complex_parameters.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/sysexit1.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/line_magic_error.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/test_logging.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/read_check.ipynb"),
    ThirdParty("jupytext", "tests/data/notebooks/inputs/ipynb_py/text_outputs_and_images.ipynb"),
    ThirdParty("jupytext", "tests/data/notebooks/inputs/ipynb_py/plotly_graphs.ipynb"),
    ThirdParty("jupytext", "tests/data/notebooks/inputs/ipynb_py/Notebook with html and latex cells.ipynb"),
    ThirdParty("jupytext", "tests/data/notebooks/inputs/ipynb_py/nteract_with_parameter.ipynb"),
    ThirdParty("jupytext", "tests/data/notebooks/inputs/ipynb_py/jupyter_again.ipynb"),
    ThirdParty("tqdm", "tests_notebook.ipynb"),
    ThirdParty("seaborn", "doc/_docstrings/color_palette.ipynb"),
    ThirdParty("seaborn", "doc/_docstrings/set_theme.ipynb"),
    ThirdParty("sympy", "doc/src/tutorials/intro-tutorial/printing.rst"),
    ThirdParty("sympy", "doc/src/tutorials/intro-tutorial/matrices.rst"),
    ThirdParty("networkx", "examples/basic/plot_properties.py"),
    ThirdParty("networkx", "examples/graph/plot_karate_club.py"),
    ThirdParty("networkx", "examples/graph/plot_dag_layout.py"),
    ThirdParty("matplotlib", "galleries/examples/lines_bars_and_markers/bar_label_demo.py"),
    ThirdParty("matplotlib", "galleries/examples/mplot3d/surface3d.py"),
    ThirdParty(
        "pandas",
        "pandas.io.formats.style:Styler pandas.io.formats.style:Styler.background_gradient "
        "pandas.io.formats.style:Styler.bar pandas.io.formats.style:Styler.format "
        "pandas.io.formats.style:Styler.set_table_styles pandas.io.formats.style:Styler.set_caption",
        first=PANDAS,
    ),
    ThirdParty("pandas", "pandas:DataFrame pandas:DataFrame.pivot_table pandas:DataFrame.info pandas:date_range", first=PANDAS),
    ThirdParty("xarray", "xarray:Dataset xarray:DataArray xarray:concat", first=XARRAY),
    ThirdParty("numpy", "numpy:einsum numpy:set_printoptions numpy.polynomial:Polynomial.fit numpy:ndindex", first=NUMPY),
    ThirdParty("statistics", "statistics statistics:NormalDist statistics:quantiles", first="from statistics import *"),
]
