"""Pairs in both directions: the rows, their clusters, labels, and real pairs."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.data.clusters import Clusters
from suexp.data.files import Files
from suexp.errors import UserError


def similar(name: str = "t.tsv", **settings: Any) -> Files:
    files = {"train": name, "validation": name}
    arguments = {"tokenizer": "bytes", "begin": True, "header": False}
    columns: dict[str, str | int] = {"text": 0, "other": 1}
    return Files(kind="similar", columns=columns, **files, **(arguments | settings))


def batch(data: Files, split: str = "train") -> dict[str, torch.Tensor]:
    return data.collate(list(data.splits()[split]))


def test_a_pair_is_two_neighbouring_rows(in_tmp: Path) -> None:
    Path("t.tsv").write_text("ab\tcde\nxy\tz\ncde\tfg\n")
    data = similar()
    found, tokenizer = batch(data), data.tokenizer_
    assert found["tokens"].shape == (6, 8)
    e, b = tokenizer.eot_id, *tokenizer.begin
    assert b not in {e, tokenizer.pad_id, tokenizer.mask_id}
    assert found["tokens"][0].tolist() == [b, *b"ab", e, *b"cde", e]
    assert found["tokens"][1].tolist() == [b, *b"cde", e, *b"ab", e]
    assert found["tokens"][2].tolist() == [b, *b"xy", e, *b"z", e, *[tokenizer.pad_id] * 2]
    assert found["prefix_length"].tolist() == [4, 5, 4, 3, 5, 4]
    assert found["segments"][3].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert found["keep"][3].tolist() == [True] * 6 + [False] * 2
    # The first and the third pair share a text, and so belong together.
    assert found["text"].tolist() == [0, 1, 2, 3, 1, 4]
    assert found["cluster"].tolist() == [0, 0, 2, 2, 0, 0]
    facts = data.facts["splits"]["train"]
    assert facts == {"documents": 3, "rows": 3, "sentences": 5, "clusters": 2}


def test_clusters_are_what_paths_of_pairs_connect() -> None:
    draw = random.Random(0)
    pairs = [(str(draw.randrange(60)), str(draw.randrange(60))) for _ in range(45)]
    clusters = Clusters(pairs)
    reach = {str(i): {str(i)} for i in range(60)}
    for _ in range(60):
        for a, b in pairs:
            reach[a] = reach[b] = reach[a] | reach[b]
    for i in range(60):
        for j in range(60):
            same = clusters.name(str(i)) == clusters.name(str(j))
            assert same == (str(j) in reach[str(i)] or reach[str(i)] == reach[str(j)])
    assert all(clusters.name(str(i)) == min(reach[str(i)]) for i in range(60))


def test_pairs_that_do_not_match_are_left_out(in_tmp: Path) -> None:
    Path("t.tsv").write_text("a\tb\t1\nc\td\t0\ne\tf\t1\n")
    columns: dict[str, str | int] = {"text": 0, "other": 1, "label": 2}
    data = Files("t.tsv", "t.tsv", None, "similar", columns, header=False, tokenizer="bytes")
    assert len(data.splits()["train"]) == 2
    assert batch(data)["tokens"][2:, 0].tolist() == [ord("e"), ord("f")]


def test_both_texts_are_cut_alike_or_refused(in_tmp: Path) -> None:
    Path("t.tsv").write_text("abcdefgh\tij\n")
    assert similar(block_size=11).splits()["train"][0]["tokens_a"].tolist() == [*b"abcd"]
    with pytest.raises(UserError, match=r"t.tsv:1: a text of 8 tokens is longer than the 4"):
        similar(block_size=11, truncate=False).splits()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\t\n", "a text of the pair is empty"),
        ("a\tb\t0\n", "the train split has no pair of texts"),
        ("a\tb\t2\n", "label '2' of a pair; write 1 where the texts match, else 0"),
    ],
)
def test_mistakes(in_tmp: Path, text: str, line: str) -> None:
    Path("t.tsv").write_text(text)
    more = {"label": 2} if text.count("\t") == 2 else {}
    columns: dict[str, str | int] = {"text": 0, "other": 1, **more}
    with pytest.raises(UserError, match=line):
        Files("t.tsv", "t.tsv", kind="similar", columns=columns, header=False).splits()
    Path("u.tsv").write_text("a\tb\n")
    data = similar("u.tsv", block_size=3)
    with pytest.raises(UserError, match="leaves no room for two texts"):
        data.splits()


def test_real_questions_that_mean_the_same(shared_data: Path) -> None:
    """The positives of OPPO's questions to an assistant, by characters."""
    path = shared_data / "oppo_xiaobu" / "dev.txt"
    columns: dict[str, str | int] = {"text": 0, "other": 1, "label": 2}
    data = Files(
        str(path), None, None, "similar", columns, "tsv", False, tokenizer="chars", begin=True
    )
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    positives = [(a, b) for a, b, label in lines if label == "1"]
    splits = data.splits()
    assert sum(map(len, splits.values())) == len(positives)
    rows = splits["validation"].__getitems__(list(range(8)))
    found, tokenizer = data.collate(rows), data.tokenizer_
    known = set(positives) | {(b, a) for a, b in positives}
    for tokens, keep, segments in zip(
        found["tokens"], found["keep"], found["segments"], strict=True
    ):
        source, target = (
            tokenizer.decode(tokens[keep & (segments == part)].tolist()) for part in (0, 1)
        )
        assert "\ufffd" in source + target or (source, target) in known
    assert (found["tokens"][:, 0] == tokenizer.begin[0]).all()
