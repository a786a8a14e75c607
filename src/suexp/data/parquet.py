"""Rows of Parquet files."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from suexp.data import bounds
from suexp.data.columns import refuse_twice
from suexp.data.lines import Record
from suexp.data.packed import bomb
from suexp.errors import UserError


def parquet_rows(path: Path, names: Collection[str] | None = None) -> Iterator[Record]:
    """Yield the rows of a file; None: with all columns.

    Raises:
        UserError: what is none, or broken.
    """
    import pyarrow as pa

    file = open_parquet(path)
    wanted = list(file.schema_arrow.names if names is None else names)
    most, number = bounds.unpacked(path), 0
    try:
        for batch in file.iter_batches(batch_size=4096, columns=wanted):
            most -= sum(map(_written_out, batch.columns))
            if most < 0:
                raise bomb(path)
            for row in batch.to_pylist():
                yield f"{path} row {number}", row
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} row {number}: cannot be read: {_first_line(error)}") from error


def _written_out(column: Any) -> int:
    """Return the bytes of a column in which texts that repeat are written out each time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def open_parquet(path: Path) -> Any:
    """Open a file; texts that repeat are kept once, as in the file.

    Raises:
        UserError: it is none, has two columns of one name, or unpacks to too much.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        file = pq.ParquetFile(path, read_dictionary=texts)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file") from error
    refuse_twice(str(path), schema.names)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    values = sum(g.column(i).num_values for g in groups for i in range(g.num_columns))
    if max(values, sum(g.total_byte_size for g in groups)) > bounds.unpacked(path):
        raise bomb(path)
    return file


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
