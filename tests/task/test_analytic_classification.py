import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from suexp.data.base import Data
from suexp.errors import UserError
from suexp.model.linear import Linear
from suexp.model.mlp import MLP
from suexp.nn.moments import merge, merge_all, moments, total
from suexp.task.analytic_classification import AnalyticClassification

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*You defined a `validation_step`"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
]
SETS = {"breast_cancer": load_breast_cancer, "wine": load_wine, "iris": load_iris}


def table(name):
    x, label = SETS[name](return_X_y=True)
    return (x - x.mean(0)) / x.std(0), label


def trained(x, label, batch_size=64, order=None, num_classes=None, model=None, **options):
    """Weights in float64, as they are before they are stored in the model."""
    x, label = torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(label)
    if order is not None:
        x, label = x[order], label[order]
    if model is None:
        model = Linear(x.shape[1], num_classes or int(label.max()) + 1).double()
    task = AnalyticClassification(
        model=model, loss=None, optimizer=None, scheduler=None, data=Data(), **options
    )
    rows = [{"x": a, "label": b} for a, b in zip(x, label, strict=True)]
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **task.trainer_settings({}),
    )
    trainer.fit(task, torch.utils.data.DataLoader(rows, batch_size=batch_size))
    return task


def weights(*args, **options):
    layer = trained(*args, **options).layer
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def logits(w, b, x):
    return x @ w.T + b


def centred(values, axis=1):
    """What adds the same to all classes does not count."""
    return values - values.mean(axis, keepdims=True)


@pytest.mark.parametrize("name", SETS)
def test_within_is_linear_discriminant_analysis(name):
    x, label = table(name)
    w, b = weights(x, label)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(x, label)
    if len(b) == 2:  # theirs is the difference of the two rows
        assert w[1] - w[0] == pytest.approx(peer.coef_[0], rel=1e-9)
        assert b[1] - b[0] == pytest.approx(peer.intercept_[0], rel=1e-9)
    else:
        np.testing.assert_allclose(centred(w, 0), centred(peer.coef_, 0), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(
            centred(b[None]), centred(peer.intercept_[None]), rtol=1e-9, atol=1e-10
        )


def test_uniform_priors_move_the_bias_only():
    x, label = table("wine")
    (w, b), (v, c) = weights(x, label), weights(x, label, priors="uniform")
    assert (w == v).all()
    np.testing.assert_allclose(b - c, np.log(3 * np.bincount(label) / len(label)), atol=1e-12)


def test_units_of_the_features_do_not_matter():
    x, label = load_breast_cancer(return_X_y=True)  # variances from 7e-6 to 3e5
    w, b = weights(x, label)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(x, label)
    np.testing.assert_allclose(w[1] - w[0], peer.coef_[0], rtol=1e-6)
    assert b[1] - b[0] == pytest.approx(peer.intercept_[0], rel=1e-6)


def test_total_and_within_have_one_direction():
    x, label = table("breast_cancer")
    within, other = (weights(x, label, covariance=c) for c in ("within", "total"))
    d, e = within[0][1] - within[0][0], other[0][1] - other[0][0]
    assert d @ e / np.linalg.norm(d) / np.linalg.norm(e) == pytest.approx(1, abs=1e-12)
    share = label.mean() * (1 - label.mean())
    distance = x[label == 1].mean(0) - x[label == 0].mean(0)
    squared = d @ distance
    assert squared == pytest.approx(14.677747846, rel=1e-9)
    ratio = np.linalg.norm(e) / np.linalg.norm(d)
    assert ratio == pytest.approx(1 / (1 + share * squared), rel=1e-10)
    assert ratio == pytest.approx(0.22567534736, abs=5e-11)
    # Least squares on the labels.
    fitted = np.linalg.lstsq(np.c_[x, np.ones(len(x))], label.astype(float), rcond=None)[0][:-1]
    np.testing.assert_allclose(fitted, share * e, rtol=1e-9)


def test_total_is_what_the_authors_code_does():
    """Whiten by np.cov's eigenvectors, then take the means as weights."""
    x, label = table("wine")
    mean = x.mean(0)
    u, s, _ = np.linalg.svd(np.cov(x.T))
    z = (x - mean) @ u / np.sqrt(s)
    means = np.stack([z[label == c].mean(0) for c in range(3)])
    theirs = z @ means.T + np.log(np.bincount(label) / len(label)) - (means**2).sum(1) / 2
    ours = logits(*weights(x, label, covariance="total", ddof=1), x)
    np.testing.assert_allclose(centred(ours), centred(theirs), atol=1e-10)


def test_balanced_classes_get_the_same_decisions():
    x, label = table("breast_cancer")
    rows = np.concatenate([np.flatnonzero(label == c)[:200] for c in (0, 1)])
    decisions = [
        logits(*weights(x[rows], label[rows], covariance=c), x).argmax(1)
        for c in ("within", "total")
    ]
    assert (decisions[0] == decisions[1]).all()


@pytest.mark.parametrize("covariance", ["within", "total"])
def test_affine_maps_change_no_probability(covariance):
    x, label = table("wine")
    rng = np.random.default_rng(0)
    a, shift = rng.normal(size=(13, 13)) + 3 * np.eye(13), rng.normal(size=13)
    plain = softmax(logits(*weights(x, label, covariance=covariance), x), 1)
    moved = x @ a.T + shift
    mapped = softmax(logits(*weights(moved, label, covariance=covariance), moved), 1)
    np.testing.assert_allclose(plain, mapped, atol=1e-8)


@pytest.mark.parametrize(("rows", "limit"), [(300, 0.4), (3_000, 0.16), (30_000, 0.04)])
def test_error_falls_with_the_number_of_rows(rows, limit):
    rng = np.random.default_rng(rows)
    dim = 10
    root = rng.normal(size=(dim, dim)) / math.sqrt(dim) + np.eye(dim)
    delta = rng.normal(size=dim) / 2
    label = (rng.random(rows) < 0.3).astype(int)
    x = rng.normal(size=(rows, dim)) @ root.T + label[:, None] * delta
    w, b = weights(x, label, batch_size=1000)
    truth = np.linalg.solve(root @ root.T, delta)
    assert np.linalg.norm(w[1] - w[0] - truth) < limit * np.linalg.norm(truth)
    intercept = -0.5 * delta @ truth + math.log(0.3 / 0.7)
    assert b[1] - b[0] == pytest.approx(intercept, abs=3 * limit)


@pytest.mark.parametrize("covariance", ["within", "total", "diagonal", "identity"])
@pytest.mark.parametrize("shrinkage", [0.0, "ledoit_wolf"])
def test_batches_and_order_change_nothing(covariance, shrinkage):
    if shrinkage and covariance in ("diagonal", "identity"):
        return
    x, label = table("wine")
    x = x + 1000  # the means are large beside the spread
    whole = weights(x, label, batch_size=178, covariance=covariance, shrinkage=shrinkage)
    order = torch.randperm(178, generator=torch.Generator().manual_seed(0))
    for batch_size in (1, 7, 100):
        parts = weights(x, label, batch_size, order, covariance=covariance, shrinkage=shrinkage)
        np.testing.assert_allclose(parts[0], whole[0], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(
            centred(logits(*parts, x)), centred(logits(*whole, x)), rtol=1e-8, atol=1e-8
        )


def test_two_shards_merged_are_one_pass():
    x, label = (torch.as_tensor(part) for part in table("iris"))
    whole = moments(x, label, 3)
    shards = [moments(x[part], label[part], 3) for part in (slice(0, 60), slice(60, 150))]
    for a, b in zip(merge(*shards), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    # The same over two processes, whose sums are added up one tensor at a time.
    first = [[], []]
    for own, kept in zip(shards, first, strict=True):
        merge_all(own, lambda t, kept=kept: kept.append(t) or t)
    count = first[0][0] + first[1][0]
    mean = (first[0][1] + first[1][1]) / count[:, None]
    sums = iter([count, mean * count[:, None]])
    partial = []
    for own in shards:
        sums = iter([count, mean * count[:, None]])
        partial.append(merge_all(own, lambda t, sums=sums: next(sums, t)).scatter)
    torch.testing.assert_close(partial[0] + partial[1], whole.scatter, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        total(whole).scatter, torch.as_tensor(np.cov(x.T, bias=True) * 150), atol=1e-9, rtol=1e-12
    )


def test_diagonal_and_identity():
    x, label = table("iris")
    means = np.stack([x[label == c].mean(0) for c in range(3)])
    w, b = weights(x, label, covariance="identity")
    np.testing.assert_allclose(w, means - x.mean(0), atol=1e-12)
    nearest = ((x[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (logits(w, b, x).argmax(1) == nearest).all()
    variance = np.mean([x[label == c].var(0) for c in range(3)], axis=0)
    w, _ = weights(x, label, covariance="diagonal")
    np.testing.assert_allclose(w, (means - x.mean(0)) / variance, atol=1e-10)


@pytest.mark.parametrize("covariance", ["within", "total"])
def test_ledoit_wolf_equals_scikit_learn(covariance):
    x, label = table("wine")
    task = trained(x, label, 50, covariance=covariance, shrinkage="ledoit_wolf")
    means = np.stack([x[label == c].mean(0) for c in range(3)])
    residuals = x - (means[label] if covariance == "within" else x.mean(0))
    expected = ledoit_wolf_shrinkage(residuals, assume_centered=True)
    assert task.final["train/shrinkage"] == pytest.approx(expected, rel=1e-10)
    number = trained(x, label, covariance=covariance, shrinkage=expected)
    torch.testing.assert_close(task.layer.weight, number.layer.weight, rtol=1e-9, atol=1e-12)


def test_shrunk_as_scikit_learn_shrinks():
    x, label = table("iris")
    w, _ = weights(x, label, shrinkage=0.3)
    means = np.stack([x[label == c].mean(0) for c in range(3)])
    scatter = (x - means[label]).T @ (x - means[label]) / len(x)
    shrunk = 0.7 * scatter + 0.3 * np.trace(scatter) / 4 * np.eye(4)
    np.testing.assert_allclose(w, np.linalg.solve(shrunk, (means - x.mean(0)).T).T, rtol=1e-10)
    full, _ = weights(x, label, shrinkage=1)
    np.testing.assert_allclose(full, (means - x.mean(0)) * 4 / np.trace(scatter), rtol=1e-10)


def test_constant_features_are_left_out():
    x, label = load_digits(return_X_y=True)  # three border pixels are always white
    w, b = weights(x, label, batch_size=500)
    assert (w[:, x.std(0) == 0] == 0).all()
    assert (logits(w, b, x).argmax(1) == label).mean() > 0.96


def test_an_absent_class_is_never_predicted():
    x, label = table("iris")
    with pytest.warns(UserWarning, match="no training row is of class 3, which is never"):
        w, b = weights(x, label, num_classes=4)
    assert b[3] == -math.inf
    assert np.isfinite(w).all()
    known = weights(x, label)
    np.testing.assert_allclose(b[:3], known[1], atol=1e-12)
    w, b = weights(x, label, num_classes=4, prior_smoothing=1)
    assert (w[3] == 0).all()
    assert b[3] == pytest.approx(math.log(1 / 154))


def test_too_few_rows():
    x, label = table("iris")
    with pytest.warns(UserWarning, match="3 rows of 3 classes do not determine a covariance of 4"):
        weights(x[[0, 60, 120]], label[[0, 60, 120]])
    with pytest.raises(UserError, match="3 rows of 3 classes leave nothing to estimate"):
        weights(x[[0, 60, 120]], label[[0, 60, 120]], ddof=1, shrinkage=0.5)


def test_sets_the_last_layer_of_a_network():
    class Init:
        def apply(self, model):
            pass

    x, label = table("iris")
    torch.manual_seed(0)
    model = MLP.__new__(MLP)
    nn.Module.__init__(model)
    model.hidden = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5)).double()
    model.classifier = nn.Linear(6, 3).double()
    w, b = weights(x, label, model=model)
    features = torch.relu(model.hidden[0](torch.as_tensor(x))).detach().numpy()
    direct = weights(features, label)
    np.testing.assert_allclose(w, direct[0], atol=1e-9)
    np.testing.assert_allclose(b, direct[1], atol=1e-9)
    assert model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shrinkage": 1.5}, r"shrinkage=1.5 must lie in \[0, 1\], or be ledoit_wolf"),
        ({"shrinkage": 0.5, "covariance": "identity"}, "nothing to shrink"),
        ({"shrinkage": "ledoit_wolf", "covariance": "diagonal"}, "shrinks a whole matrix"),
        ({"eps": 1.0}, r"eps=1.0 must lie in \[0, 1\)"),
        ({"ddof": -1}, "ddof=-1"),
        ({"priors": "uniform", "prior_smoothing": 1}, "changes empirical priors only"),
        ({"model": nn.Identity()}, "Identity has no linear layer named classifier"),
    ],
)
def test_refuses(options, message):
    options = {"model": Linear(2, 2), **options}
    with pytest.raises(ValueError, match=message):
        AnalyticClassification(loss=None, optimizer=None, scheduler=None, data=Data(), **options)
