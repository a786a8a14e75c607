"""Tables of your own: columns of numbers and a label."""

import json
import math
from array import array
from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.contents import content_hash
from suexp.data.answers import class_of, number_of
from suexp.data.columns import few
from suexp.data.document import refuse_single
from suexp.data.paths import Paths, found_files
from suexp.data.records import format_of, whole_records
from suexp.data.vectors import Vectors, Whitening, stratified
from suexp.errors import UserError

FACTS = "facts.json"

# What to do where a feature is no number.
UNFIT = "fill or drop such rows, or choose the columns with data.features"


class Table(Vectors):
    r"""Local CSV, TSV, JSON lines and Parquet tables as vectors $z = (x - \mu) B$ and labels.

    A row's features are numbers, in the order of the first training file; its label is a word or an
    integer, and its class the label's place among the sorted labels of the training rows. Whitening
    (the mean $\mu$ and the matrix B) is by what the training rows say. A batch holds ``x`` (B,
    dim), float32, and ``label`` (B,).

    References: https://www.rfc-editor.org/rfc/rfc4180, https://parquet.apache.org; whitened as in
    https://kexue.fm/archives/8578.

    Args:
        train: path, glob or list of them, relative to the folder that suexp is started in.
        validation: likewise; null: ``val_fraction`` of every class of the training rows.
        test: likewise; null: no test split.
        label: the label's column; of a table without a header its number from 0.
        features: the columns that are read, in this order; null: all others.
        format: json, csv, tsv or parquet; null: as each file's name says.
        header: whether the first line of CSV and TSV names the columns.
        whiten: ``none``; ``standard``, each feature by its own deviation; ``total`` and
            ``within``, together, by the covariance of all rows or within classes.
        batch_size: rows of a training step; a large number: all of them.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of every class that is held out where no validation file is given.
        split_seed: which rows are held out.

    Raises:
        ValueError: a value out of range.
        UserError: a file that is missing, empty or broken, a column that is missing, a cell that is
            no number, with the line; a label that the training rows do not have.
    """

    provides: ClassVar[set[str]] = {
        "vectors",
        "labels",
        "plane if len(features)=2",
        "plane if features=None",  # which only the file knows
    }

    def __init__(
        self,
        train: Paths = None,
        validation: Paths = None,
        test: Paths = None,
        label: str | int = "label",
        features: list[str | int] | None = None,
        format: Literal["json", "csv", "tsv", "parquet"] | None = None,
        header: bool = True,
        whiten: Whitening = "standard",
        batch_size: int = 32,
        eval_batch_size: int = 512,
        val_fraction: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        super().__init__(whiten, batch_size, eval_batch_size)
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction must lie between 0 and 1, not {val_fraction}")
        self.files = {"train": train, "validation": validation, "test": test}
        self.label = str(label)
        self.features = None if features is None else [str(name) for name in features]
        self.format, self.header = format, header
        self.val_fraction, self.split_seed = val_fraction, split_seed

    def reads(self) -> list[Path]:
        """Return the files of all splits."""
        return [
            path
            for split, paths in self.files.items()
            if paths is not None or split == "train"
            for path in found_files(f"data.{split}", paths)
        ]

    def tables(self) -> dict[str, tuple[Any, Any]]:
        """Return the splits."""
        import numpy as np

        rows, names = self._read("train", self.features)
        labels = sorted({label for _, label, _ in rows}, key=_in_order)
        refuse_single(labels)
        number = {label: i for i, label in enumerate(labels)}
        self._facts = {"features": names, "labels": labels}

        def arrays(rows: list[Any]) -> tuple[Any, Any]:
            for where, label, _ in rows:
                if label not in number:
                    raise UserError(
                        f"{where}: label {label!r} does not occur in the training rows, which have "
                        f"{', '.join(map(repr, labels[:5]))}{', ...' * (len(labels) > 5)}"
                    )
            x = np.array([values for _, _, values in rows], dtype=np.float64)
            return x, np.array([number[label] for _, label, _ in rows])

        splits = {"train": arrays(rows)}
        for split in ("validation", "test"):
            if self.files[split] is not None:
                splits[split] = arrays(self._read(split, names)[0])
        if "validation" not in splits:
            x, label = splits["train"]
            kept, held = stratified(label, self.val_fraction, f"table/{self.split_seed}")
            splits |= {"train": (x[kept], label[kept]), "validation": (x[held], label[held])}
        return splits

    def _prepare(self, folder: Path) -> None:
        super()._prepare(folder)
        (folder / FACTS).write_text(json.dumps(self._facts), encoding="utf-8")

    def _read(self, split: str, names: list[str] | None) -> tuple[list[Any], list[str]]:
        """Return place, label and features of each row, and the features' names."""
        out = []
        for path in found_files(f"data.{split}", self.files[split]):
            for where, row in whole_records(path, self.format, self.header):
                if names is None:
                    names = [name for name in row if name != self.label]
                for name in (self.label, *names):
                    if name not in row:
                        what = "label" if name == self.label else "features"
                        raise UserError(
                            f"{where}: no column {name!r} among {few(row)}; "
                            f"name what there is with data.{what}"
                        )
                label = class_of(where, self.label, row[self.label])
                numbers = (number_of(where, name, row[name], UNFIT) for name in names)
                out.append((where, label, array("d", numbers)))
        if not out or not names:
            raise UserError(f"data.{split}: no rows with features in {self.files[split]}")
        return out, names

    @property
    def sizes(self) -> dict[str, int]:
        """Return the number of features and of classes."""
        facts = json.loads((self._folder() / FACTS).read_text(encoding="utf-8"))
        return {"input_dim": len(facts["features"]), "num_classes": len(facts["labels"])}

    def depends_on(self) -> Any:
        """Return the files' contents, and the choices."""
        files = {
            split: [
                (format_of(path, self.format), content_hash(path))
                for path in found_files(f"data.{split}", paths)
            ]
            for split, paths in self.files.items()
            if paths is not None or split == "train"
        }
        choice = [
            *(self.label, self.features, self.header),
            *(self.whiten, self.val_fraction, self.split_seed),
        ]
        return [files, choice]


def _in_order(label: str | int) -> tuple[bool, float, str]:
    """Numbers in their order, also where a CSV has them as text; then words."""
    try:
        value = float(label)
    except (ValueError, OverflowError):
        value = math.nan
    return (False, value, str(label)) if math.isfinite(value) else (True, 0.0, str(label))
