"""Real Chinese abstracts and key words through data=files."""

from pathlib import Path

from suexp.data.files import Files


def test_abstracts_and_key_words(shared_data: Path) -> None:
    data = Files(
        train=str(shared_data / "csl" / "dev_few_all.json"),
        kind="seq2seq",
        columns={"text": "abst", "other": "keyword"},
        tokenizer="bpe",
        vocab_size=2048,
        block_size=128,
        val_fraction=0.2,
    )
    splits = data.splits()
    assert len(splits["train"]) + len(splits["validation"]) == 160
    batch = data.collate(splits["validation"].__getitems__(list(range(8))))
    assert batch["tokens"].shape[1] <= 128
    documents = list(data.documents("validation"))[:8]
    for doc, tokens, segments in zip(documents, batch["tokens"], batch["segments"], strict=True):
        target = data.tokenizer_.decode(tokens[segments == 1].tolist())
        assert target == doc.other
        assert "; " in target
        source = data.tokenizer_.decode(tokens[segments == 0].tolist())
        assert doc.text.startswith(source.rstrip("\ufffd"))
