"""Pages of the notebooks with what a published run showed: python docs/render.py quick.

Texts and code are the notebooks' own; outputs are those of the executed copies under
data/runs/RUN/notebooks, and pictures the ones under figures/RUN.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

from ediff_utils.core.paths import NOTEBOOKS, ROOT, SHIPPED, Run, atomic_write

PAGES = SHIPPED / "docs" / "notebooks"
#: How a notebook names the figures that it saves.
_SAVED = re.compile(r'folder\.figures / "(\w+\.png)"')
_INDEX = "README.md"
#: Outputs that are nothing without a running kernel.
_LIVE = "application/vnd.jupyter.widget-view+json"
#: Papermill's own cells.
_INJECTED = "injected-parameters"


def render(path: Path, figures: str) -> str:
    """Markdown of an executed notebook, whose pictures lie in a folder, relative to the page."""
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        names = _SAVED.findall(cell.source)
        cell.outputs = [_shown(out, names, figures) for out in cell.outputs if _kept(out)]
    book.cells = [cell for cell in book.cells if _INJECTED not in cell.metadata.get("tags", [])]
    text, _ = MarkdownExporter().from_notebook_node(book)
    text = text.replace(f"{ROOT}/", "")
    text = re.sub(r"<style scoped>.*?</style>\n?", "", text, flags=re.DOTALL)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())) + "\n"


def _kept(output: nbformat.NotebookNode) -> bool:
    """Whether a reader of a page sees anything in an output."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return output.output_type != "error" and _LIVE not in output.get("data", {})


def _shown(output: nbformat.NotebookNode, names: list[str], figures: str) -> nbformat.NotebookNode:
    """An output whose picture is a link to the committed one."""
    if "image/png" not in output.get("data", {}) or not names:
        return output
    name = names.pop(0)
    link = f"![{name.removesuffix('.png')}]({figures}/{name})"
    return nbformat.v4.new_output("display_data", {"text/markdown": link})


def title(path: Path) -> str:
    """The heading of a notebook."""
    first = nbformat.read(path, as_version=4).cells[0].source
    return first.splitlines()[0].lstrip("# ")


def main(name: str) -> None:
    """Write a page for each notebook of a run, and their list."""
    lines = ["# The notebooks, with what they show", ""]
    lines += [f"Of the run `{name}`. The sources lie in [`notebooks/`](../../notebooks).", ""]
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        executed = Run(name).notebooks / path.name
        with atomic_write(PAGES / f"{path.stem}.md") as partial:
            partial.write_text(render(executed, f"../../figures/{name}"), encoding="utf-8")
        lines.append(f"- [{title(path)}]({path.stem}.md)")
    with atomic_write(PAGES / _INDEX) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
