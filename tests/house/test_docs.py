"""Pages about the notebooks are those of the notebooks, and links lead somewhere."""

from __future__ import annotations

import re

import nbformat
import pytest

from ediff_utils.core.paths import ROOT

BOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_the_page_of_a_notebook_is_of_its_cells(path):
    """`python docs/render.py quick` writes them anew."""
    page = (ROOT / "docs/notebooks" / f"{path.stem}.md").read_text(encoding="utf-8")
    plain = "".join(page.split())
    for cell in nbformat.read(path, as_version=4).cells:
        assert "".join(cell.source.split()) in plain


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_the_page_has_the_figures_that_the_notebook_saves(path):
    page = (ROOT / "docs/notebooks" / f"{path.stem}.md").read_text(encoding="utf-8")
    source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    saved = re.findall(r'folder\.figures / "(\w+\.png)"', source)
    for name in saved:
        assert f"figures/quick/{name})" in page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (path.parent / target).exists(), target


def test_the_list_of_pages():
    text = (ROOT / "docs/notebooks/README.md").read_text(encoding="utf-8")
    assert re.findall(r"\((\d\d_\w+)\.md\)", text) == [path.stem for path in BOOKS]
