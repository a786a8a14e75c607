import ast

import pytest

from suexp.data import corpus
from suexp.data.stdlib_code import StdlibCode


def test_source_code_split_by_file() -> None:
    data = StdlibCode(tokenizer="bytes", block_size=256, max_bytes=200_000)
    documents = {split: list(data.documents(split)) for split in ("train", "validation")}
    names = [doc.key for docs in documents.values() for doc in docs]
    assert len(names) == len(set(names)) > 300
    assert "email/message.py" in names
    assert not any(name.startswith(("encodings/", "test/", "pydoc_data/")) for name in names)
    for doc in documents["validation"][:5]:
        assert doc.text.encode() == (corpus.library() / doc.key).read_bytes()
        ast.parse(doc.text)
    size = {split: sum(len(d.text) for d in docs) for split, docs in documents.items()}
    assert size["validation"] / sum(size.values()) == pytest.approx(0.1, abs=0.03)
    row = data.splits()["train"].__getitems__([0])[0]["tokens"]
    assert data.tokenizer_.decode(row.tolist()) == documents["train"][0].text[:256]
    assert data.facts["splits"]["train"]["bytes"] == pytest.approx(200_000, abs=256)
