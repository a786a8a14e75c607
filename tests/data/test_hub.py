"""The hub itself is never asked: `load_dataset` and the network are stood in for."""

import io
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest

from suexp.data import hub
from suexp.data.hub import Hub
from suexp.errors import UserError

TABLES = {
    "train": {"sentence": ["first text", "second text"], "y": [1, 0]},
    "dev": {"sentence": ["third text"], "y": [1]},
}


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A hub that has one data set."""
    calls: list[Any] = []

    def load_dataset(name: str, config: str | None, *, split: str, revision: str | None) -> Any:
        calls.append((name, config, split, revision))
        if split not in TABLES:
            raise ValueError(f'Unknown split "{split}".\nShould be one of {sorted(TABLES)}.')
        return datasets.Dataset.from_dict(TABLES[split])

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    told = SimpleNamespace(config=SimpleNamespace(data_files={"train": ["hf://datasets/x/y"]}))
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_, **__: told)
    return calls


SETTINGS: dict[str, Any] = {
    "name": "some/texts",
    "validation": "dev",
    "columns": {"text": "sentence", "label": "y"},
    "kind": "classification",
    "tokenizer": "bytes",
}


def test_rows_of_a_hub_data_set(online: list[Any]) -> None:
    data = Hub(**SETTINGS, config="small", revision="v1")
    assert {name: len(rows) for name, rows in data.splits().items()} == {
        "train": 2,
        "validation": 1,
    }
    row = data.splits()["train"].__getitems__([1])[0]
    assert data.tokenizer_.decode(row["tokens"].tolist()) == "second text"
    assert data.label_names == [0, 1]
    assert online == [("some/texts", "small", split, "v1") for split in ("train", "dev")]
    online.clear()
    assert len(Hub(**SETTINGS, config="small", revision="v1").splits()["train"]) == 2
    assert online == []  # found again without asking


def test_split_held_out(online: list[Any]) -> None:
    data = Hub("some/texts", validation=None, columns={"text": "sentence"}, val_fraction=0.5)
    texts = [doc.text for split in ("train", "validation") for doc in data.documents(split)]
    assert sorted(texts) == ["first text", "second text"]
    test = Hub("some/texts", test="dev", columns={"text": "sentence"})
    assert test.split_names == ("train", "validation", "test")
    assert [doc.text for doc in Hub(**SETTINGS).documents("validation")] == ["third text"]


def test_bad_names_are_one_line(online: list[Any]) -> None:
    message = r'some/texts could not be loaded from the hub: Unknown split "devel". Should be one'
    with pytest.raises(UserError, match=message):
        Hub(**(SETTINGS | {"validation": "devel"})).splits()
    with pytest.raises(UserError, match=r"no column 'text' among sentence, y; name one with"):
        Hub(**(SETTINGS | {"columns": {}})).splits()
    with pytest.raises(UserError, match=r"data.name is not set"):
        Hub().splits()


def test_a_class_that_nobody_could_tell_is_none(
    online: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SNLI has -1 where the annotators disagreed."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, -1]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    data = Hub("some/texts", kind="classification")
    documents = data.documents("train")
    assert next(iter(documents)).label == 1
    with pytest.raises(UserError, match=r"some/texts \(train\) row 1: has no label; save the rows"):
        next(iter(documents))


@pytest.mark.parametrize("kind", ["lm", "classification"])
def test_no_network_says_so_at_once(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    embedded = "data=pydoc" if kind == "lm" else "data=docstring_topic"
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        Hub("some/unknown-texts", kind=kind).splits()
    assert time.perf_counter() - start < hub.TIMEOUT + 1
    message = str(caught.value)
    assert message.startswith("some/unknown-texts is not on this machine and the hub cannot be")
    assert embedded in message
    assert "\n" not in message
    assert not datasets.config.HF_HUB_OFFLINE


def test_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(reply: Any) -> None:
        def urlopen(request: urllib.request.Request, timeout: float) -> Any:
            asked.append((request.get_method(), timeout))
            if isinstance(reply, Exception):
                raise reply
            if reply is None:
                time.sleep(0.5)
            return reply or io.BytesIO()

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    answer(io.BytesIO())
    assert not hub.reachable()
    assert asked == []  # offline mode: not even asked
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    assert hub.reachable()
    assert asked == [("HEAD", hub.TIMEOUT)]
    answer(urllib.error.HTTPError("https://x", 405, "no HEAD here", None, None))  # type: ignore[arg-type]
    assert hub.reachable()
    answer(urllib.error.URLError("no route"))
    assert not hub.reachable()
    monkeypatch.setattr(hub, "TIMEOUT", 0.05)
    answer(None)  # a name server that never answers
    start = time.perf_counter()
    assert not hub.reachable()
    assert time.perf_counter() - start < 0.4


def test_reads_a_real_folder_as_the_library_does(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load_dataset` takes a folder for a name: the one real call that needs no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", in_tmp / "hf")
    Path("texts").mkdir()
    for split, rows in TABLES.items():
        name = {"train": "train", "dev": "validation"}[split]
        values = zip(*rows.values(), strict=True)
        lines = [json.dumps(dict(zip(rows, row, strict=True))) for row in values]
        Path(f"texts/{name}.jsonl").write_text("\n".join(lines))
    data = Hub("./texts", **{k: v for k, v in SETTINGS.items() if k not in ("name", "validation")})
    texts = {name: [doc.text for doc in data.documents(name)] for name in data.split_names}
    assert texts == {"train": ["first text", "second text"], "validation": ["third text"]}


@pytest.mark.parametrize("named", ["../secret.txt", "absolute"])
def test_a_data_set_s_own_description_does_not_lead_out_of_it(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", in_tmp / "hf")
    secret = in_tmp / "secret.txt"
    secret.write_text("secret")
    Path("texts").mkdir()
    named = str(secret) if named == "absolute" else named
    configs = f"[{{config_name: default, data_files: [{{split: train, path: '{named}'}}]}}]"
    Path("texts/README.md").write_text(f"---\nconfigs: {configs}\n---\n")
    with pytest.raises(UserError, match=r"^data\.name: .*secret\.txt leads out of texts") as caught:
        Hub("./texts", validation=None).splits()
    assert "\n" not in str(caught.value)


def test_fingerprint_asks_nobody() -> None:
    base = Hub(**SETTINGS).fingerprint()
    assert base == Hub(**SETTINGS, batch_size=2).fingerprint()
    changed: list[dict[str, Any]] = [
        {"name": "other/texts"},
        {"config": "large"},
        {"revision": "v2"},
        {"train": "train[:10]"},
        {"columns": {"text": "sentence", "label": "z"}},
        {"kind": "lm"},
    ]
    found = {Hub(**(SETTINGS | change)).fingerprint() for change in changed}
    assert len(found | {base}) == len(changed) + 1


def test_fingerprint_follows_a_folder_s_content(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "abc"}\n')
    before = Hub(str(tmp_path)).fingerprint()
    assert Hub(str(tmp_path)).fingerprint() == before
    (tmp_path / "train.jsonl").write_text('{"text": "abd"}\n')
    assert Hub(str(tmp_path)).fingerprint() != before
