"""Files of detector frames, as other programs write them."""

import numpy as np


def signal_of(
    data,
    units=("nm", "nm", "1/nm", "1/nm"),
    navigate=(1, 1, 0, 0),
    energy=None,
    scale=(0.5, 0.5, 0.5, 0.5),
):
    """A scan as RosettaSciIO's writers take it."""
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "size": n,
            "index_in_array": k,
            "scale": scale[k],
            "offset": 0.0,
            "units": units[k],
            "navigate": bool(navigate[k]),
        }
        for k, (name, n) in enumerate(zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    ]
    metadata = {"General": {"title": ""}, "Signal": {"signal_type": "electron_diffraction"}}
    if energy:
        metadata["Acquisition_instrument"] = {"TEM": {"beam_energy": energy}}
    return {
        "data": data,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "none", "package_version": "0"},
        "learning_results": {},
        "models": None,
        "tmp_parameters": {},
    }


def write_hspy(path, data, **options):
    """HyperSpy's HDF5."""
    from rsciio.hspy import file_writer

    file_writer(str(path), signal_of(data, **options))
    return path


def write_mrc(path, stack):
    """MRC 2014: a header of 1,024 bytes, columns fastest; mode 6 is uint16."""
    header = np.zeros(256, "<i4")
    header[:4] = *stack.shape[::-1], 6
    header[7:10] = stack.shape[::-1]
    header[16:19] = 1, 2, 3
    header[52] = int.from_bytes(b"MAP ", "little")
    header[53] = 0x4444
    path.write_bytes(header.tobytes() + stack.astype("<u2").tobytes())
    return path


def write_emd(path, data, units="A^-1", pixel_size=0.02):
    """A DataCube as py4DSTEM saves it."""
    import py4DSTEM

    cube = py4DSTEM.DataCube(data)
    cube.calibration.set_Q_pixel_size(pixel_size)
    cube.calibration.set_Q_pixel_units(units)
    cube.calibration.set_R_pixel_size(2.0)
    cube.calibration.set_R_pixel_units("nm")
    py4DSTEM.save(str(path), cube, mode="o")
    return path
