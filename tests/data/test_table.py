from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_iris

from suexp.data.table import Table
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of

NAMES = ("setosa", "versicolor", "virginica")


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """The real set as a CSV with the label in the middle."""
    x, label = load_iris(return_X_y=True)
    lines = ["sepal length,sepal width,species,petal length,petal width"]
    lines += [f"{a},{b},{NAMES[c]},{d},{e}" for (a, b, d, e), c in zip(x, label, strict=True)]
    path = tmp_path / "iris.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def x_of(data, split="train"):
    return np.stack(data.splits()[split][:]["x"])


def test_a_csv(iris):
    data = Table(train=str(iris), label="species", whiten="none")
    assert data.sizes == {"input_dim": 4, "num_classes": 3}
    rows = np.concatenate([x_of(data), x_of(data, "validation")])
    np.testing.assert_allclose(np.sort(rows, 0), np.sort(load_iris().data, 0), rtol=1e-6)
    assert len(x_of(data, "validation")) == 30
    assert np.bincount(data.splits()["validation"][:]["label"]).tolist() == [10, 10, 10]


def test_formats_agree(iris, tmp_path):
    x, label = load_iris(return_X_y=True)
    columns = {str(i): x[:, i] for i in range(4)} | {"label": label}
    pq.write_table(pa.table(columns), tmp_path / "iris.parquet")
    rows = [
        dict(zip([*"0123", "label"], row, strict=True)) for row in zip(*x.T, label, strict=True)
    ]
    (tmp_path / "iris.jsonl").write_text(
        "\n".join(
            str({k: float(v) if k != "label" else int(v) for k, v in r.items()}) for r in rows
        ).replace("'", '"')
    )
    (tmp_path / "bare.tsv").write_text(
        "\n".join("\t".join(map(str, [*row, c])) for row, c in zip(x, label, strict=True))
    )
    expected = x_of(Table(train=str(iris), label="species", whiten="within"))
    for name, options in (
        ("iris.parquet", {}),
        ("iris.jsonl", {}),
        ("bare.tsv", {"header": False, "label": 4}),
    ):
        data = Table(train=str(tmp_path / name), whiten="within", **options)
        np.testing.assert_array_equal(x_of(data), expected)


def test_chosen_features_and_files_of_their_own(iris):
    data = Table(
        train=str(iris),
        validation=str(iris),
        test=[str(iris)],
        label="species",
        features=["petal width", "sepal width"],
        whiten="none",
    )
    assert data.sizes["input_dim"] == 2
    for split in ("train", "validation", "test"):
        np.testing.assert_allclose(x_of(data, split), load_iris().data[:, [3, 1]], rtol=1e-6)


def test_a_changed_file_is_read_again(iris):
    data = Table(train=str(iris), label="species")
    before = data.fingerprint()
    iris.write_text(iris.read_text().replace("5.1", "5.2"))
    assert data.fingerprint() != before


def test_labels_that_are_numbers_keep_their_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,label\n" + "\n".join(f"{i},{label}" for i in range(4) for label in (10, 9)))
    data = Table(train=str(path), validation=str(path), whiten="none")
    rows = data.splits()["train"][:]
    assert [int(label) for label in rows["label"]] == [1, 0] * 4


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,label\n1,x\n?,x", {}, r":3: column 'a' holds '\?', not a number; fill or drop"),
        ("a,label\n1,x\n,x", {}, ":3: column 'a' holds '', not a number"),
        ("a,label\ninf,x", {}, ":2: column 'a' holds 'inf', not a number"),
        ("a,b\n1,x", {}, r":2: no column 'label' among a, b; name what there is with data\.label"),
        ("a,label\n1,x", {"features": ["c"]}, r"no column 'c' among a, label; .* data\.features"),
        ("a,label\n1,", {}, ":2: column 'label' is empty; fill it or remove the row"),
        ("a,label\n1,2,3", {}, ":2: 3 fields instead of 2"),
        ("", {}, "t.csv is empty"),
        ("a,label", {}, "data.train: no rows with features"),
    ],
)
def test_complaints(tmp_path, text, options, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Table(train=str(path), **options).splits()
    assert "\n" not in str(caught.value)


def test_an_unknown_label(iris, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(iris.read_text().replace("virginica", "pallida"))
    data = Table(train=str(iris), test=str(other), label="species")
    with pytest.raises(
        UserError, match=r"other\.csv:102: label 'pallida' does not occur in the tr"
    ):
        data.splits()


def test_a_run(iris, tmp_path):
    overrides = ["task=analytic_classification", "data=table", f"data.train={iris}"]
    overrides += ["data.label=species", "trainer=cpu", "trainer.enable_progress_bar=false"]
    overrides += ["threads=1", "trainer.log_every_n_steps=1", f"out={tmp_path}"]
    summary = execute(spec_of(overrides), print)
    assert summary.status == "finished", summary.error
    assert summary.metrics["val/accuracy"] > 0.9


def test_numbers_without_bound(tmp_path):
    path = tmp_path / "t.jsonl"
    huge = "1" + "0" * 400
    path.write_text(f'{{"a": {huge}, "label": 1}}')
    with pytest.raises(UserError, match=r":1: column 'a' holds 10+, not a number"):
        Table(str(path)).splits()
    labels = ["nan", "2", huge, "10", "inf", "b"]  # in an order that says nothing
    rows = [f'{{"a": {i}, "label": "{label}"}}' for i, label in enumerate(labels)]
    path.write_text("\n".join(rows))
    data = Table(str(path), validation=str(path), whiten="none")
    found = data.splits()["train"].__getitems__([*range(6)])
    assert [row["label"] for row in found] == [5, 0, 2, 1, 4, 3]
