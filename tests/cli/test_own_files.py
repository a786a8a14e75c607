"""The first command that one would type for data as it is published: it runs, and it learns.

The files are made up, a few rows in the real formats, with something to be learned in each.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from suexp.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:data.tokenizer=:UserWarning"),  # which says what it chose
]
ROWS = 96
SMALL = (
    *("model.dim=16", "model.num_heads=2", "model.num_layers=1", "data.batch_size=16"),
    *("data.block_size=32", "optimizer.lr=2e-2", "scheduler=constant", "trainer=cpu"),
    *("trainer.enable_progress_bar=false", "threads=1"),
)


def text(i: int) -> str:
    """Return a text of its own for each row."""
    return "".join("天地玄黄宇宙洪荒日月盈昃"[i // 12**k % 12] for k in range(3))


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def json_lines(rows: list[dict[str, Any]]) -> str:
    return lines(*(json.dumps(row, ensure_ascii=False) for row in rows))


def table(names: str, rows: list[tuple[Any, ...]], **dialect: Any) -> str:
    """Return rows as CSV, or with tabs and no quotes."""
    out = io.StringIO()
    csv.writer(out, **({"lineterminator": "\n"} | dialect)).writerows([names.split(), *rows])
    return out.getvalue()


TABS: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
SIGNS = "甲乙丙"


def lcqmc() -> str:
    rows = [(f"{text(i)}怎么走", f"{text(i + 1)}{SIGNS[i % 2]}", i % 2) for i in range(ROWS)]
    return table("text_a text_b label", rows, **TABS)


def afqmc() -> str:
    rows = [(f"花呗{text(i)}", f"借呗{text(i)}{SIGNS[i % 2]}", str(i % 2)) for i in range(ROWS)]
    return json_lines([{"sentence1": a, "sentence2": b, "label": y} for a, b, y in rows])


def sts_b() -> str:
    names = "index genre filename year old_index source1 source2 sentence1 sentence2 score"
    facts = ("main-captions", "MSRvid", "2012test", "0001", "none", "none")
    rows = [
        (i, *facts, f'A "man" plays {i}.', f"{' very' * (i % 6)} good.", f"{i % 6}.000")
        for i in range(ROWS)
    ]
    return table(names, rows, **TABS)


def ocnli() -> str:
    names = ("entailment", "neutral", "contradiction")
    return json_lines(
        [
            {
                **{"level": "easy", "sentence1": text(i), "sentence2": f"{SIGNS[i % 3]}{text(i)}"},
                **{"label": names[i % 3], "label0": "neutral", "genre": "gov", "id": i},
            }
            for i in range(ROWS)
        ]
    )


def named(kinds: str, mark: Callable[[int, str], str]) -> str:
    """Return texts of four characters, of which two are a name."""
    texts = []
    for i in range(ROWS):
        kind = kinds.split()[i % 2]
        name = "王李"[i % 2] + "小"
        tags = (f"B-{kind}", f"I-{kind}", "O", "O")
        rows = zip(name + text(i)[:2], tags, strict=True)
        texts.append(lines(*(f"{mark(k, unit)} {tag}" for k, (unit, tag) in enumerate(rows))))
    return "\n".join(texts)


def people_s_daily() -> str:
    return named("PER LOC", lambda k, unit: unit)


def weibo() -> str:
    return named("PER.NAM GPE.NAM", lambda k, unit: f"{unit}{k % 2}").replace(" ", "\t")


def lyrics() -> str:
    songs = [{"title": text(i), "lyrics": [f"啦啦啦{text(i)}", "啦啦啦啦啦"]} for i in range(ROWS)]
    return json.dumps(songs, ensure_ascii=False, indent=2)


def qqp() -> str:
    rows = [
        (i, i, i, f'How do I "cook" {i}?', f"{('Never', 'Always')[i % 2]} cook {i}?", i % 2)
        for i in range(ROWS)
    ]
    names = "id qid1 qid2 question1 question2 is_duplicate"
    return table(names, rows, delimiter="\t", quoting=csv.QUOTE_ALL)


def imdb() -> str:
    said = (("bad", "negative"), ("good", "positive"))
    rows = [(f"{said[i % 2][0]}, film {i}.<br />Fin.", said[i % 2][1]) for i in range(ROWS)]
    return table("review sentiment", rows)


def tnews() -> str:
    names = ("news_story", "news_culture", "news_game")
    rows = [(str(100 + i % 3), names[i % 3], f"{SIGNS[i % 3]}{text(i)}") for i in range(ROWS)]
    return json_lines(
        [{"label": a, "label_desc": b, "sentence": c, "keywords": ""} for a, b, c in rows]
    )


def iflytek() -> str:
    rows = [
        (i % 3, ("打车", "地图", "免费")[i % 3], f"{text(i)}{SIGNS[i % 3]}") for i in range(ROWS)
    ]
    return json_lines([{"label": a, "label_des": b, "sentence": c, "id": 0} for a, b, c in rows])


class Shape(NamedTuple):
    """A file as published, what one would type for it, and what the run must reach."""

    name: str
    content: Callable[[], str]
    command: str
    metric: str
    least: float


CLASSES = "task=classification data=files data.kind=classification"
TAGS = "task=tagging data=files data.kind=tagging"
# Majorities: half or a third of the rows; half of the characters are no name; no correlation.
SHAPES = [
    Shape("lcqmc.tsv", lcqmc, f"{CLASSES} data.columns={{text:text_a,other:text_b}}", "auc", 0.9),
    Shape(
        "afqmc.json",
        afqmc,
        f"{CLASSES} data.columns={{text:sentence1,other:sentence2}}",
        "best_accuracy",
        0.8,
    ),
    Shape(
        "sts-b.tsv",
        sts_b,
        "task=text_regression data=files data.kind=regression "
        "data.columns={text:sentence1,other:sentence2,label:score}",
        "spearman",
        0.5,
    ),
    Shape(
        "ocnli.json",
        ocnli,
        f"{CLASSES} data.columns={{text:sentence1,other:sentence2}}",
        "f1_macro",
        0.7,
    ),
    Shape("example.train", people_s_daily, TAGS, "f1", 0.7),
    Shape("weiboNER.conll.train", weibo, TAGS, "f1", 0.7),
    Shape(
        "qqp.tsv",
        qqp,
        f"{CLASSES} data.columns={{text:question1,other:question2,label:is_duplicate}}",
        "f1",
        0.8,
    ),
    Shape("imdb.csv", imdb, f"{CLASSES} data.columns={{text:review,label:sentiment}}", "f1", 0.8),
    Shape(
        "tnews.json",
        tnews,
        f"{CLASSES} data.columns={{text:sentence,label:label_desc}}",
        "accuracy",
        0.7,
    ),
    Shape(
        "iflytek.json",
        iflytek,
        f"{CLASSES} data.columns={{text:sentence,label:label_des}}",
        "f1_macro",
        0.7,
    ),
]


def metrics(command: str, name: str, *settings: str) -> dict[str, float]:
    """Run a command on a file and return what its run has found."""
    assert main([*command.split(), f"data.train={name}", *SMALL, *settings]) in (None, 0)
    (summary,) = Path("outputs/runs").glob("*/summary.json")
    return json.loads(summary.read_text())["metrics"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_first_command(in_tmp: Path, shape: Shape) -> None:
    Path(shape.name).write_text(shape.content())
    found = metrics(shape.command, shape.name, "trainer.max_steps=40", "data.val_fraction=0.25")
    assert found[f"val/{shape.metric}"] >= shape.least, found


def test_song_lyrics_in_json(in_tmp: Path) -> None:
    Path("lyrics.json").write_text(lyrics())
    settings = ("data.columns.text=lyrics", "task.sample_tokens=0", "trainer.max_steps=40")
    found = metrics("data=files", "lyrics.json", *settings)
    assert found["val/loss"] < found["val/unigram_loss"]


def test_majorities_are_what_is_claimed() -> None:
    labels = [row["label_desc"] for row in map(json.loads, tnews().splitlines())]
    assert max(Counter(labels).values()) / ROWS == pytest.approx(1 / 3)
    tags = [line.split()[1] for line in people_s_daily().splitlines() if line]
    assert Counter(tags)["O"] / len(tags) == 0.5


REAL = [
    (
        "iflytek/train_few_all.json",
        f"{CLASSES} data.columns={{text:sentence,label:label_des}}",
        "f1_macro",
    ),
    (
        "csl/test_public.json",
        f"{CLASSES} data.columns={{text:abst,other:keyword}}",
        "auc",
    ),
    ("oppo_xiaobu/dev.txt", f"{CLASSES} data.columns={{text:0,other:1,label:2}}", "auc"),
    ("segmentation/pku_test_gold.utf8", TAGS, "f1"),
    ("tinyshakespeare/input.txt", "data=files task.sample_tokens=0", "loss"),
]


@pytest.mark.parametrize(("name", "command", "metric"), REAL, ids=lambda value: value[:12])
def test_the_first_command_for_real_data(
    in_tmp: Path, shared_data: Path, name: str, command: str, metric: str
) -> None:
    settings = ("trainer.max_steps=4", "trainer.limit_val_batches=4")
    found = metrics(command, str(shared_data / name), *settings)
    assert 0 <= found[f"val/{metric}"] < 20
