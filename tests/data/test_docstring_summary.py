import pytest

from suexp.data.docstring_summary import LONGEST, SHORTEST, DocstringSummary


@pytest.fixture(scope="module")
def data() -> DocstringSummary:
    return DocstringSummary()


def test_pairs_are_real_and_apart(data: DocstringSummary) -> None:
    train, validation = (list(data.documents(split)) for split in ("train", "validation"))
    assert 1500 < len(train) + len(validation) < 5000
    assert len(validation) / (len(train) + len(validation)) == pytest.approx(0.15, abs=0.03)
    assert not {doc.other for doc in train} & {doc.other for doc in validation}
    for doc in validation:
        assert doc.text.partition("\n")[2]
        assert SHORTEST <= len(doc.other or "") <= LONGEST
    (doc,) = [d for d in train + validation if d.where == "shlex shlex.push_token"] or [None]
    assert doc is None or doc.text.startswith("shlex shlex.push_token\n")


@pytest.mark.slow
def test_the_language_models_text_holds_nothing_of_the_validation_pairs(
    data: DocstringSummary,
) -> None:
    held_out = {doc.other or "" for doc in data.documents("validation")}
    running = DocstringSummary(kind="lm")
    train = list(running.documents("train"))
    assert len(train) > 3000
    assert not held_out & {doc.key for doc in train}
    words = " ".join(" ".join(doc.text.split()) for doc in train)
    assert not any(summary in words for summary in held_out)


@pytest.mark.slow
def test_both_kinds_share_the_tokenizer(data: DocstringSummary) -> None:
    other = DocstringSummary(kind="lm", block_size=64)
    assert data.fingerprint() != other.fingerprint()
    assert data.tokenizer_.token_bytes == other.tokenizer_.token_bytes
    assert data.sizes == other.sizes == {"vocab_size": 2048}


@pytest.mark.slow
def test_a_batch_reads_back(data: DocstringSummary) -> None:
    rows = data.splits()["validation"].__getitems__(list(range(20)))
    batch = data.collate(rows)
    documents = list(data.documents("validation"))[:20]
    assert batch["tokens"].shape[1] <= 96
    for doc, tokens, segments in zip(documents, batch["tokens"], batch["segments"], strict=True):
        assert data.tokenizer_.decode(tokens[segments == 1].tolist()) == doc.other
        source = data.tokenizer_.decode(tokens[segments == 0].tolist())
        assert doc.text.startswith(source.rstrip("\ufffd"))
