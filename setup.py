"""Puts what ships beside the packages into the wheel: see ediff_utils.core.paths.SHIPPED."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("notebooks/*.ipynb", "data/presets/*.yml", "data/examples/*", "data/models/default/*")


class BuildWithData(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        root = Path(__file__).parent
        for source in (path for pattern in SHIPPED for path in root.glob(pattern)):
            place = Path(self.build_lib, "ediff_utils", "shipped", source.relative_to(root))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


setup(cmdclass={"build_py": BuildWithData})
