"""Which notebooks of which projects are run, and what of them is not: each exception with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BOTH = ("kernel", "magic")
NUMPY = "import numpy as np"
PANDAS = f"{NUMPY}\nimport pandas as pd"
XARRAY = f"{PANDAS}\nimport xarray as xr"
NETWORK = "needs a network"
RANDOM = "draws random numbers"
KERNEL = "uses the sockets of ipykernel, which a sandbox does not have"
READ_ONLY = "writes a file, and the repository is read-only"
FILE = "a picture beside the notebook is put into the output; natively the page asks the server for it"
REFUSED = "the output policy has no gamepad among its widgets, and says so"
USAGE = "a magic that is not there ends the cell with an error, and not with text alone"
SPEED = "a bar is as long as the measured speed leaves room for"
SVG = "matplotlib writes the time and random names into SVG"
STDIN = "the error says what to do"


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
    faces : tuple of str
        How it runs in the sandbox: on the sandbox ``"kernel"``, or each cell below ``%%sandbox`` (``"magic"``).
    left_out : mapping of int to str
        Cells that are not run, by their index, with the reason.
    unrepeatable : mapping of int to str
        Cells that run, but put out something else each time, with the reason.
    differing : mapping of int to str
        Cells that put out something else in the sandbox, with the reason.
    """

    project: str
    path: str
    first: str = ""
    faces: tuple[str, ...] = ("kernel",)
    left_out: Mapping[int, str] = field(default_factory=dict)
    unrepeatable: Mapping[int, str] = field(default_factory=dict)
    differing: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether the cells are in a file of the archive."""
        return self.path.endswith((".ipynb", ".py", ".rst"))

    @property
    def title(self) -> str:
        """How people call it."""
        return self.path.rpartition("/")[2] if self.is_file else self.path.split()[0].partition(":")[0] + " docstrings"


_JUPYTEXT = "tests/data/notebooks/inputs/ipynb_py"
_STYLER = "pandas.io.formats.style:Styler"

CATALOGUE = [
    ThirdParty(
        "nbsphinx",
        "doc/code-cells.ipynb",
        faces=BOTH,
        left_out={11: NETWORK},
        unrepeatable={26: RANDOM, 36: RANDOM},
        differing={30: FILE},
    ),
    ThirdParty("nbsphinx", "doc/allow-errors.ipynb", faces=BOTH),
    ThirdParty("nbclient", "tests/files/Clear Output.ipynb", faces=BOTH),
    ThirdParty("nbclient", "tests/files/Output.ipynb"),
    ThirdParty("nbclient", "tests/files/SVG.ipynb"),
    ThirdParty("nbclient", "tests/files/update-display-id.ipynb", differing=dict.fromkeys(range(1, 6), KERNEL)),
    ThirdParty("nbclient", "tests/files/Disable Stdin.ipynb", differing={0: STDIN}),
    ThirdParty("nbconvert", "tests/exporters/files/svg.ipynb", unrepeatable={0: SVG}),
    ThirdParty("nbconvert", "tests/exporters/files/pngmetadata.ipynb"),
    ThirdParty("nbconvert", "tests/exporters/files/rst_output.ipynb"),
    ThirdParty("nbconvert", "tests/files/Widget_List.ipynb", differing={35: REFUSED}),
    ThirdParty("nbval", "tests/test_coalesce.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/broken2.ipynb", faces=BOTH),
    ThirdParty("papermill", "papermill/tests/notebooks/complex_parameters.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/sysexit1.ipynb"),
    ThirdParty("papermill", "papermill/tests/notebooks/read_check.ipynb"),
    ThirdParty("jupytext", f"{_JUPYTEXT}/text_outputs_and_images.ipynb", faces=BOTH),
    ThirdParty("jupytext", f"{_JUPYTEXT}/plotly_graphs.ipynb"),
    ThirdParty("jupytext", f"{_JUPYTEXT}/Notebook with html and latex cells.ipynb", differing={3: USAGE}),
    ThirdParty("jupytext", f"{_JUPYTEXT}/jupyter_again.ipynb"),
    ThirdParty("tqdm", "tests_notebook.ipynb", unrepeatable={11: SPEED}),
    ThirdParty("seaborn", "doc/_docstrings/color_palette.ipynb"),
    ThirdParty("seaborn", "doc/_docstrings/set_theme.ipynb", faces=BOTH),
    ThirdParty("sympy", "doc/src/tutorials/intro-tutorial/matrices.rst"),
    ThirdParty("networkx", "examples/basic/plot_properties.py"),
    ThirdParty("matplotlib", "galleries/examples/lines_bars_and_markers/bar_label_demo.py"),
    ThirdParty(
        "pandas",
        f"{_STYLER}.background_gradient {_STYLER}.bar {_STYLER}.format {_STYLER}.format_index {_STYLER}.set_caption",
        first=PANDAS,
    ),
    ThirdParty(
        "pandas",
        "pandas:DataFrame pandas:DataFrame.pivot_table pandas:DataFrame.info",
        first=PANDAS,
        differing={43: READ_ONLY},
    ),
    ThirdParty("xarray", "xarray:Dataset xarray:DataArray", first=XARRAY),
    ThirdParty("numpy", "numpy:einsum numpy:set_printoptions numpy.polynomial:Polynomial.fit", first=NUMPY),
    ThirdParty("python", "statistics statistics:NormalDist statistics:quantiles", first="from statistics import *"),
]
