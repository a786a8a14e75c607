import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from torch import Tensor

from suexp.data.document import share
from suexp.data.pydoc import PyDoc


@pytest.fixture(scope="module")
def pydoc() -> PyDoc:
    return PyDoc()


def batch(data: PyDoc, split: str, keys: list[int]) -> Tensor:
    return data.collate(data.splits()[split].__getitems__(keys))["tokens"]


@pytest.mark.slow
def test_real_english(pydoc: PyDoc) -> None:
    text = " ".join(doc.text for doc in pydoc.documents("train"))
    assert text.count(" the ") > 5000
    assert pydoc.sizes == {"vocab_size": 2048}
    assert batch(pydoc, "train", [0, 5, 9]).shape == (3, 129)
    decoded = pydoc.tokenizer_.decode(batch(pydoc, "train", [0])[0].tolist())
    assert decoded.startswith(text[:100])


def test_split_by_document(pydoc: PyDoc) -> None:
    train = {doc.key for doc in pydoc.documents("train")}
    validation = {doc.key for doc in pydoc.documents("validation")}
    assert not train & validation
    assert all(share(key) < 0.1 for key in validation)
    assert pydoc.facts["splits"]["train"]["documents"] == len(train)
    size = {name: facts["bytes"] for name, facts in pydoc.facts["splits"].items()}
    assert size["validation"] / sum(size.values()) == pytest.approx(0.1, abs=0.03)


@pytest.mark.slow
def test_the_validation_split_does_not_depend_on_the_tokenizer(pydoc: PyDoc) -> None:
    plain = PyDoc(tokenizer="bytes")
    sizes = [data.facts["splits"]["validation"]["bytes"] for data in (pydoc, plain)]
    assert abs(sizes[0] - sizes[1]) < 128 * 20  # the tails that fill no block
    assert plain.sizes == {"vocab_size": 259}


def test_blocks_hold_the_documents(pydoc: PyDoc) -> None:
    dataset = pydoc.splits()["validation"]
    tokens = batch(pydoc, "validation", list(range(len(dataset)))).numpy()
    stream = np.concatenate([tokens[0, :1], tokens[:, 1:].reshape(-1)])
    ends = np.flatnonzero(stream == pydoc.tokenizer_.eot_id)
    documents = [doc.text for doc in pydoc.documents("validation")]
    found = [
        pydoc.tokenizer_.decode(stream[a + 1 : b].tolist()) for a, b in itertools.pairwise(ends)
    ]
    assert found == documents[: len(found)]
    assert len(documents) - len(found) <= 2


def test_baseline_is_the_cross_entropy_of_token_frequencies(pydoc: PyDoc) -> None:
    counts = {}
    for split, dataset in pydoc.splits().items():
        tokens = np.stack(dataset["tokens"])[:, 1:]
        counts[split] = np.bincount(tokens.reshape(-1), minlength=2048)
    probability = (counts["train"] + 1) / (counts["train"] + 1).sum()
    frequency = counts["validation"] / counts["validation"].sum()
    expected = -(frequency * np.log(probability)).sum()
    assert pydoc.unigram_baseline() == pytest.approx(expected, rel=1e-9)
    assert 5 < expected < np.log(2048)
    assert 2.5 < pydoc.bytes_per_token("validation") < 4


def test_light_to_import_and_to_fingerprint() -> None:
    script = (
        "import sys\nfrom suexp.data.pydoc import PyDoc\nPyDoc().fingerprint()\n"
        "heavy = {'torch', 'datasets', 'tokenizers', 'sklearn', 'numpy', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_fingerprint_is_fixed_and_follows_the_settings() -> None:
    base = PyDoc().fingerprint()
    assert base == PyDoc(batch_size=3, eval_batch_size=5).fingerprint()
    changed = [PyDoc(block_size=64), PyDoc(tokenizer="bytes"), PyDoc(max_bytes=1000)]
    assert len({base, *(data.fingerprint() for data in changed)}) == 4


def test_a_batch_is_read_in_less_than_a_third_of_a_millisecond(pydoc: PyDoc) -> None:
    dataset = pydoc.splits()["train"]
    rng = np.random.default_rng(0)
    times = []
    for _ in range(50):
        keys = rng.integers(0, len(dataset), 16).tolist()
        start = time.perf_counter()
        pydoc.collate(dataset.__getitems__(keys))
        times.append(time.perf_counter() - start)
    assert np.median(times) < 3e-4
