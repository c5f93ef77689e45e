"""Spots in the files of other programs: DIALS, XDS, PETS2, Jana and pyxem."""
