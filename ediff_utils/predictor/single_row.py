"""Trees asked about one row, by the calls that LightGBM's C interface has for that.

``lightgbm.Booster.predict`` sets up a predictor for every call, which takes longer than the trees.
``LGBM_BoosterPredictForMatSingleRowFast`` sets it up once; its numbers are the same to the last
bit. The Python package has no other way to it than its library's handle.
"""

from __future__ import annotations

import ctypes
import weakref

import lightgbm
import numpy as np
from lightgbm.basic import _LIB, _safe_call

#: Codes of LightGBM's C interface: probabilities, and 64-bit floating point numbers.
_NORMAL, _FLOAT64 = 0, 1


class SingleRow:
    """Answers of a booster about one row after another, on one thread.

    Parameters
    ----------
    model : lightgbm.Booster
        Kept alive, and not to be trained further.
    """

    def __init__(self, model: lightgbm.Booster) -> None:
        self._model = model
        self._n_features = model.num_feature()
        config = ctypes.c_void_p()
        _safe_call(
            _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                model._handle,
                ctypes.c_int(_NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(self._n_features),
                ctypes.c_char_p(b"num_threads=1"),
                ctypes.byref(config),
            )
        )
        self._config = config
        weakref.finalize(self, _LIB.LGBM_FastConfigFree, config)
        self._n = model.num_model_per_iteration()

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        row : ndarray, shape (features,)

        Returns
        -------
        ndarray, shape (classes,)
            As ``lightgbm.Booster.predict`` gives them.
        """
        row = np.ascontiguousarray(row, np.float64)
        if row.shape != (self._n_features,):
            raise ValueError(f"row: expected {self._n_features} numbers, got shape {row.shape}")
        found, length = np.empty(self._n), ctypes.c_int64()
        _safe_call(
            _LIB.LGBM_BoosterPredictForMatSingleRowFast(
                self._config,
                row.ctypes.data_as(ctypes.c_void_p),
                ctypes.byref(length),
                found.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )
        )
        return found
