import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suexp.data.tokenizer import BPETokenizer, ByteTokenizer, Tokenizer

TEXTS = [
    "the cat sat on the mat",
    "the theory of the thing",
    "naïve 你好 🙂",
    "return self.value\n" * 5,
]


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> BPETokenizer:
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    BPETokenizer.train(TEXTS, 300, path)
    return BPETokenizer(path)


@pytest.fixture(params=["bytes", "bpe"])
def tokenizer(request: pytest.FixtureRequest, bpe: BPETokenizer) -> Tokenizer:
    return ByteTokenizer() if request.param == "bytes" else bpe


@given(st.text())
def test_bytes_round_trip(text: str) -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode(text) == list(text.encode())
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    "special", ["", "<|endoftext|>", "[MASK]", "\ufeff", "a\u0301", "\r\n\t \x00"]
)
def test_round_trip_of_what_looks_special(tokenizer: Tokenizer, special: str) -> None:
    ids = tokenizer.encode(special)
    assert tokenizer.decode(ids) == special
    assert all(i < tokenizer.size for i in ids)


def test_bpe_round_trip(bpe: BPETokenizer) -> None:
    @given(st.text())
    def check(text: str) -> None:
        assert bpe.decode(bpe.encode(text)) == text

    check()


def test_special_tokens(tokenizer: Tokenizer) -> None:
    n = tokenizer.size
    assert (tokenizer.pad_id, tokenizer.eot_id, tokenizer.mask_id) == (n, n + 1, n + 2)
    assert tokenizer.vocab_size == n + 3
    assert len(tokenizer.token_bytes) == n + 3
    assert tokenizer.decode([tokenizer.eot_id, *tokenizer.encode("a"), tokenizer.pad_id]) == "a"


def test_byte_vocabulary() -> None:
    assert ByteTokenizer().vocab_size == 259
    assert ByteTokenizer().decode([0xE4, 0xBD, 0xA0, 0xFF]) == "你\ufffd"


def test_token_bytes_add_up(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert sum(len(tokenizer.token_bytes[i]) for i in ids) == len(text.encode())


def test_batch_equals_single(tokenizer: Tokenizer) -> None:
    batch = tokenizer.encode_batch([*TEXTS, ""])
    assert [ids.tolist() for ids in batch] == [tokenizer.encode(text) for text in [*TEXTS, ""]]
    assert all(ids.dtype == np.int32 for ids in batch)


def test_bpe_merges_the_commonest_neighbours(bpe: BPETokenizer) -> None:
    assert bpe.vocab_size == 300
    assert len(bpe.encode(" the")) == 1
    assert bpe.encode("the cat") != list(b"the cat")


def test_small_text_gives_a_small_vocabulary(tmp_path: Path) -> None:
    BPETokenizer.train(["aaaa"], 1000, tmp_path / "t.json")
    assert BPETokenizer(tmp_path / "t.json").vocab_size < 270


def test_training_is_deterministic(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom suexp.data.tokenizer import BPETokenizer\n"
        "texts = [f'{i} words {chr(97 + i % 26)}{chr(97 + i % 25)} {i % 7}' for i in range(500)]\n"
        "BPETokenizer.train(texts, 400, Path(sys.argv[1]))\n"
    )
    saved = []
    for seed, threads in (("1", "false"), ("2", "true")):
        path = tmp_path / f"{seed}.json"
        environment = os.environ | {"PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": threads}
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=environment)
        saved.append(path.read_bytes())
    assert saved[0] == saved[1]


def test_reserved_tokens_come_last_and_no_text_has_them(bpe: BPETokenizer) -> None:
    for tokenizer in (copy.copy(bpe), ByteTokenizer()):
        plain = tokenizer.vocab_size
        tokenizer.reserve(2, begin=True)
        assert tokenizer.reserved == (plain, plain + 1)
        assert tokenizer.begin == (plain + 2,)
        assert tokenizer.vocab_size == plain + 3 == len(tokenizer.token_bytes)
        assert tokenizer.decode([plain, plain + 2, *tokenizer.encode("two words")]) == "two words"
        others = {tokenizer.pad_id, tokenizer.eot_id, tokenizer.mask_id}
        assert tokenizer.special == others | {plain, plain + 1, plain + 2}
