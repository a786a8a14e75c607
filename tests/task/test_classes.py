"""Figures of classes, against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from suexp.task._classes import ClassFigures


def found(p: np.ndarray, label: np.ndarray, parts: int = 3) -> dict[str, float]:
    figures = ClassFigures(p.shape[1])
    for rows, truth in zip(np.array_split(p, parts), np.array_split(label, parts), strict=True):
        rows = torch.from_numpy(rows).float()
        figures.update(rows, rows.argmax(-1), torch.from_numpy(truth))
    told = {name: float(value) for name, value in figures.compute().items()}
    figures.reset()
    return told


def test_two_classes() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 200)
    second = np.clip(0.3 * rng.random(200) + 0.4 * label + 0.2 * rng.random(200), 0, 1).round(2)
    second[rng.random(200) < 0.2] = 0.35  # also where many are equal
    p = np.stack((1 - second, second), 1)
    best = p.argmax(1)
    told = found(p, label)
    assert told["f1_macro"] == pytest.approx(f1_score(label, best, average="macro"), abs=1e-6)
    assert told["f1"] == pytest.approx(f1_score(label, best), abs=1e-6)
    assert told["auc"] == pytest.approx(roc_auc_score(label, second), abs=1e-6)
    thresholds = [*np.unique(second), 2.0]
    accuracies = [accuracy_score(label, second >= one) for one in thresholds]
    assert told["best_accuracy"] == pytest.approx(max(accuracies), abs=1e-6)
    at = accuracy_score(label, second.astype("f4") >= np.float32(told["threshold"]))
    assert at == pytest.approx(max(accuracies), abs=1e-6)


def test_three_classes_of_which_one_never_occurs() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 50)
    p = rng.random((50, 3)) * [1, 1, 0]
    told = found(p, label)
    assert told == {
        "f1_macro": pytest.approx(f1_score(label, p.argmax(1), average="macro"), abs=1e-6)
    }


def test_one_class_has_no_threshold() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    assert found(p, np.zeros(3, dtype=int)) == {"f1_macro": pytest.approx(0.25), "f1": 0.0}
