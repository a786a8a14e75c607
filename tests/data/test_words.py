from pathlib import Path

from suexp.data.files import Files
from suexp.data.words import WordTokenizer


def test_words_seen_once_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    WordTokenizer.train(["12 7 12 99", "7  12 5"], 100, path)
    tokenizer = WordTokenizer(path)
    assert tokenizer.vocab_size == 2 + 1 + 3
    ids = tokenizer.encode(" 7 99\t12")
    assert ids == [1, tokenizer.unknown_id, 0]
    assert tokenizer.decode([*ids, tokenizer.pad_id]) == "7 � 12"
    assert tokenizer.ordinary.tolist() == [0, 1]


def test_files_of_numbers(in_tmp: Path) -> None:
    """The form of the competition's files: texts of secret numbers, and a label."""
    Path("t.tsv").write_text("12 7 3\t7 12\t1\n3 3\t12 7\t0\n")
    data = Files(
        train="t.tsv",
        validation="t.tsv",
        kind="pairs",
        tokenizer="words",
        header=False,
        columns={"text": 0, "other": 1, "label": 2},
        reserved=2,
        begin=True,
    )
    rows = data.splits()["train"]
    batch = data.collate([rows[0], rows[1]])
    tokenizer = data.tokenizer_
    assert tokenizer.token_bytes[:3] == [b"12", b"3", b"7"]
    assert batch["tokens_a"].tolist() == [[9, 0, 2, 1], [9, 1, 1, tokenizer.pad_id]]
    assert batch["match"].tolist() == [True, False]
    assert batch["labelled"].tolist() == [True, True]
