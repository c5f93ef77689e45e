"""What the trees of a forest say, and figure 3's confidence of one pattern.

The paper counts trees, each for the class that leads in its leaf; scikit-learn averages the leaves.
"""

from __future__ import annotations

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from ediff_utils.core.errors import UserError
from ediff_utils.paper.features import N_FEATURES


def lead(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The leading class of each row, the first of equal ones, and its lead over the second.

    Of votes or probabilities, (..., n_classes); both have shape (...).
    """
    values = np.asarray(values, dtype=float)
    # the zeros are there for those who know one class only
    padded = np.concatenate([values, np.zeros((*values.shape[:-1], 1))], axis=-1)
    second, first = np.moveaxis(np.sort(padded, axis=-1)[..., -2:], -1, 0)
    return values.argmax(axis=-1), first - second


def difference_confidence(votes: np.ndarray) -> np.ndarray:
    """(votes of the first - votes of the second) / all votes, figure 3's weight of a pattern.

    Of votes, (..., n_classes); zero where there are none.
    """
    total = np.sum(votes, axis=-1, dtype=float)
    return lead(votes)[1] / np.where(total > 0, total, 1)


def checked(features: np.ndarray) -> np.ndarray:
    """Features as trees take them: finite, float32, shape (n, 1066); else a UserError."""
    features = np.ascontiguousarray(features, dtype=np.float32)
    if features.ndim != 2 or features.shape[1] != N_FEATURES:
        raise UserError(f"features: expected shape (n, {N_FEATURES}), got {features.shape}")
    if not np.all(np.isfinite(features)):
        raise UserError("features: expected finite numbers, found NaN or infinity")
    return features


def tree_votes(forest: RandomForestClassifier, features: np.ndarray) -> np.ndarray:
    """How many trees vote for each class: int32 (n, n_classes), columns as in forest.classes_."""
    return tree_answers(forest, features)[0]


def tree_answers(
    forest: RandomForestClassifier, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Votes as :func:`tree_votes` counts them, and scikit-learn's mean of the leaves.

    The latter, float32 (n, n_classes), are as ``forest.predict_proba`` gives them.
    """
    features = checked(features)
    shape = (len(features), len(forest.classes_))
    votes, probabilities = np.zeros(shape, np.int32), np.zeros(shape)
    answers = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
        joblib.delayed(_tree_answer)(tree, features) for tree in forest.estimators_
    )
    rows = np.arange(len(features))
    for choice, fractions in answers:
        votes[rows, choice] += 1
        probabilities += fractions
    return votes, (probabilities / len(forest.estimators_)).astype(np.float32)


def _tree_answer(
    tree: DecisionTreeClassifier, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Class and fractions of the leaf that each pattern falls into."""
    leaves = tree.tree_.apply(features)
    value = tree.tree_.value[:, 0, :]
    fractions = (value / value.sum(axis=1, keepdims=True)).astype(np.float32)
    return value.argmax(axis=1)[leaves], fractions[leaves]
