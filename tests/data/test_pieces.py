"""Pieces of a unigram model that is trained here, and what CPM does so that blanks survive."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.data import corpus
from suexp.data.files import Files
from suexp.data.pieces import BLANK, NEWLINE, CPMTokenizer, SentencePieceTokenizer
from suexp.data.tokenizer import library
from suexp.errors import UserError

TEXTS = (
    "def f(x):\n    return  x\n\n\nwith  two blanks ",
    "\n a line's end first",
    "word",
    "",
    "美国的首都是华盛顿\n法国的首都是巴黎\n",
)
SPECIAL = ["<unk>", "<pad>", "<cls>", "<eod>", "<mask>", BLANK, NEWLINE]


class Cut(CPMTokenizer):
    """Words without jieba: whatever has no blank in it."""

    def cut(self, text: str) -> Iterable[str]:
        return re.findall(r"\s|\S+", text)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on documentation, with SentencePiece's treatment of blanks."""
    return trained(tmp_path_factory.mktemp("pieces") / "tokenizer.json", SPECIAL)


def trained(path: Path, special: list[str]) -> Path:
    tokenizers = library()
    normalizers = tokenizers.normalizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram())
    blanks = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), blanks])
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    texts = [text for _, text in corpus.docstrings()[:300]]
    tokenizer.train_from_iterator([*texts, *TEXTS], trainer)
    tokenizer.save(str(path))
    return path


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_with_its_blanks_and_line_ends(file: Path, text: str) -> None:
    tokenizer = Cut(file)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    # A line's end is <cls>, with which the model ends a line.
    assert ids.count(2) == text.count("\n")
    assert SPECIAL.index(NEWLINE) not in ids


def test_without_the_marks_it_would_not(file: Path) -> None:
    tokenizer = SentencePieceTokenizer(file)
    assert tokenizer.decode(tokenizer.encode("two words")) == "two words"
    assert tokenizer.decode(tokenizer.encode("two  words\nand")) == "two words and"


def test_special_tokens(file: Path, tmp_path: Path) -> None:
    tokenizer = SentencePieceTokenizer(file)
    assert (tokenizer.pad_id, tokenizer.eot_id, tokenizer.mask_id) == (1, 3, 4)
    assert tokenizer.vocab_size == len(tokenizer.token_bytes) == tokenizer.size
    assert tokenizer.token_bytes[1] == tokenizer.token_bytes[3] == b""
    few = SentencePieceTokenizer(trained(tmp_path / "few.json", ["<unk>", "</s>"]))
    assert (few.pad_id, few.eot_id, few.mask_id) == (few.size, 1, few.size + 1)
    assert few.vocab_size == len(few.token_bytes) == few.size + 2
    with pytest.raises(UserError, match=r"no piece U\+2582.*use data\.tokenizer=sentencepiece"):
        CPMTokenizer(tmp_path / "few.json")


def test_texts_of_a_file_in_pieces(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"a text of words number {n}" for n in range(200)))
    settings: dict[str, Any] = {"block_size": 8, "vocab": str(file.parent), "val_fraction": 0.3}
    data = Files(str(path), tokenizer="sentencepiece", **settings)
    batch = data.collate([data.splits()["train"][i] for i in range(4)])["tokens"]
    assert batch.shape == (4, 9)
    text = torch.cat((batch[0], batch[1, 1:]))  # neighbouring rows share a token
    assert data.tokenizer_.decode(text.tolist()) == "a text of words number 0"
    assert file in data.reads()
    assert data.sizes == {"vocab_size": data.tokenizer_.vocab_size}
    reserved = Files(str(path), tokenizer="sentencepiece", reserved=2, **settings)
    assert len(reserved.tokenizer_.reserved) == 2
    assert reserved.tokenizer_.vocab_size == data.tokenizer_.vocab_size + 2
    assert reserved.fingerprint() != data.fingerprint()


def test_mistakes(tmp_path: Path) -> None:
    for kind in ("sentencepiece", "cpm"):
        with pytest.raises(ValueError, match=rf"data\.tokenizer={kind} needs data\.vocab"):
            Files("x.txt", tokenizer=kind)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"data\.vocab: no file .*nowhere; name a checkpoint's spi"):
        SentencePieceTokenizer.build("nowhere", tmp_path / "to")
    broken = tmp_path / "tokenizer.json"
    broken.write_text('{"model": 3}')
    with pytest.raises(UserError, match=r"is no tokenizer\.json: "):
        SentencePieceTokenizer.build(str(tmp_path), tmp_path / "to")
    other = library().Tokenizer(library().models.WordLevel({"a": 0}, unk_token="a"))
    other.save(str(broken))
    with pytest.raises(UserError, match="a model of kind WordLevel, not SentencePiece's Unigram"):
        SentencePieceTokenizer.build(str(tmp_path), tmp_path / "to")
    (tmp_path / "spiece.model").write_bytes(b"\x0a\x03abc")
    with pytest.raises(UserError, match=r"sentencepiece; pip install|is no model of SentencePiece"):
        SentencePieceTokenizer.build(str(tmp_path / "spiece.model"), tmp_path / "to")


def test_words_that_jieba_cuts(file: Path) -> None:
    pytest.importorskip("jieba", reason="jieba is not installed (the extra `chinese`)")
    tokenizer = CPMTokenizer(file)
    for text in TEXTS:
        assert "".join(tokenizer.cut(text)) == text
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_model_of_the_package_sentencepiece(tmp_path: Path) -> None:
    peer = pytest.importorskip(
        "sentencepiece", reason="sentencepiece is not installed (the extra `chinese`)"
    )
    texts = [" ".join(Cut.cut(None, text)) for _, text in corpus.docstrings()[:300]]  # type: ignore[arg-type]
    marks = str.maketrans({"\n": NEWLINE})
    peer.SentencePieceTrainer.train(
        sentence_iterator=iter([text.translate(marks) for text in [*texts, *TEXTS]]),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=300,
        user_defined_symbols=["<cls>", BLANK, NEWLINE],
        hard_vocab_limit=False,
        character_coverage=1.0,
    )
    path = tmp_path / "copy"
    SentencePieceTokenizer.build(str(tmp_path), path)
    tokenizer, plain = Cut(path), SentencePieceTokenizer(path)
    model = peer.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    assert plain.encode("a text of words") == model.encode("a text of words")
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert plain.decode(plain.encode(TEXTS[0])) != TEXTS[0]
