"""Prompts of a few examples: as they are written, and what comes back from a model."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.callback.few_shot import FewShot, padded, prompt
from suexp.config.compose import resolve
from suexp.data.examples import Example, Skill, labelled
from suexp.data.tokenizer import ByteTokenizer
from suexp.data.word_functions import FUNCTIONS, WordFunctions
from suexp.decoding import Beam, Greedy
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.normalizer.softmax import Softmax
from suexp.store.folder import Run
from suexp.task.causal_lm import CausalLM
from tests.decoding.models import build
from tests.support.tiny import tiny

BIRDS = (Example("bird", "b"), Example("lamp", "l"))


def test_prompts_of_none_one_and_two() -> None:
    assert prompt((), "tree", ">") == "tree>"
    assert prompt(BIRDS[:1], "tree", ">") == "bird>b\ntree>"
    assert prompt(BIRDS, "tree", " -> ") == "bird -> b\nlamp -> l\ntree -> "


@dataclass
class Texts:
    """Data with skills of its own."""

    found: list[Skill]
    tokenizer_: Any = field(default_factory=ByteTokenizer)
    eval_batch_size: int = 3
    sizes: dict[str, int] = field(default_factory=lambda: {"vocab_size": 259})

    def skills(self) -> list[Skill]:
        return self.found


class Asked:
    """As much of a task as the callback asks for."""

    def __init__(self, data: Any, model: Any = None, decoding: Any = None) -> None:
        self.data, self.decoding, self.normalizer = data, decoding, Softmax()
        self.model = build(vocab_size=259).eval() if model is None else model
        self.device = torch.device("cpu")

    log_likelihoods = CausalLM.log_likelihoods


def words(**settings: Any) -> WordFunctions:
    return WordFunctions(num_train=20, num_validation=8, **settings)


def test_demonstrations_are_nested_and_never_the_query() -> None:
    data = words()
    asked = FewShot(prompts=5).asked(data)
    assert asked == FewShot(prompts=5).asked(data)
    assert asked != FewShot(prompts=5, seed=1).asked(data)
    assert len(asked) == 8 * 5
    for question in asked:
        shown = [example.text for example in question.shown]
        assert len({*shown, question.query.text}) == 7
        skill = next(s for s in data.skills() if s.name == question.skill)
        assert all(example in skill.examples for example in question.shown)


def test_mixed_and_shuffled_demonstrations() -> None:
    data = words()
    of = {skill.name: {e.text: e.answer for e in skill.examples} for skill in data.skills()}

    def share(kind: Any) -> float:
        right = [
            of[question.skill][example.text] == example.answer
            for question in FewShot(prompts=20, demonstrations=kind).asked(data)
            for example in question.shown
        ]
        return sum(right) / len(right)

    assert share("right") == 1
    # The own function, one of eight, or another that happens to agree; a letter that does.
    assert 0.13 < share("mixed") < 0.35
    assert share("shuffled") < 0.2
    mixed = FewShot(demonstrations="mixed").asked(data)
    assert all(
        any(answers[e.text] == e.answer for answers in of.values())
        for question in mixed
        for e in question.shown
    )


@pytest.mark.parametrize("decoding", [Greedy(), Beam(3)])
def test_padded_prompts_are_answered_as_each_alone(decoding: Any) -> None:
    skill = Skill("names", [Example("a" * n, "b") for n in range(1, 9)], [Example("longer", "c")])
    other = Skill("digits", [Example(str(n), "7") for n in range(9)], [Example("11", "4")] * 4)
    task = Asked(Texts([skill, other]), decoding=decoding)
    with torch.no_grad():
        for parameter in task.model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    callback = FewShot(shots=[0, 3], prompts=4, max_new_tokens=6)
    asked = callback.asked(task.data)
    for shots in (0, 3):
        alone = []
        for question in asked:
            text = prompt(question.shown[:shots], question.query.text, ">")
            tokens = torch.tensor([[257, *text.encode()]])
            new = decoding(task.model, tokens, 6, end=ord("\n"))
            answer = task.data.tokenizer_.decode(new.texts(ord("\n"))[0])
            alone.append(answer.split("\n")[0].strip())
        assert list(callback.answers(task, asked, shots)) == alone
        assert len({*alone}) > 1


def test_padding_stands_on_the_left() -> None:
    tokens, keep = padded([[1, 2, 3], [4]], 0, "cpu")
    assert tokens.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert keep is not None
    assert keep.tolist() == [[True, True, True], [False, False, True]]
    assert padded([[1], [2]], 0, "cpu")[1] is None


@pytest.mark.parametrize("average", ["sum", "mean"])
@torch.no_grad()
def test_ranks_by_the_tokens_behind_what_all_have_in_common(average: Any) -> None:
    candidates = ("cat", "cattle", "c", "dog")
    skill = Skill("s", list(BIRDS), [Example("tree", "cat", candidates)])
    task = Asked(Texts([skill]))
    for parameter in task.model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    callback = FewShot(shots=[1], scoring="rank", average=average)
    (question,) = callback.asked(task.data)
    for names in (candidates, candidates[:3]):
        start = prompt(question.shown[:1], "tree", ">")
        common = "c" if "dog" not in names else ""  # the first letter of all says nothing
        scores = []
        for name in names:
            tokens = torch.tensor([[257, *f"{start}{name}\n".encode()]])
            log_p = task.model(tokens[:, :-1]).log_softmax(-1)
            own = log_p.gather(2, tokens[:, 1:, None])[0, :, 0][len(start) + len(common) :]
            scores.append(float(own.sum() if average == "sum" else own.mean()))
        query = Example("tree", "cat", names)
        asked = [type(question)("s", question.shown, query)]
        found = list(callback.answers(task, asked, 1))
        assert found == [names[scores.index(max(scores))]]


class Oracle:
    """A model that has learned: it copies the answer of the first example."""

    position = None

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, 259)
        for row, text in enumerate(tokens.tolist()):
            for place, token in enumerate(text):
                wanted = text[text.index(ord(">")) + 1] if token == ord(">") else ord("\n")
                logits[row, place, wanted] = 9.0
        return logits


def test_a_model_that_copies_is_right_where_copying_is() -> None:
    answers = ("x", "y", "z")
    skills = [
        Skill(y, [Example(f"{n}{y}", y, answers) for n in range(6)], [Example("q", y, answers)] * 2)
        for y in answers
    ]
    task = Asked(Texts(skills), Oracle())
    callback = FewShot(shots=[1], scoring="rank")
    asked = callback.asked(task.data)
    assert list(callback.answers(task, asked, 1)) == [question.query.answer for question in asked]
    rows = callback._rows(task, 1, asked, ["x"] * 6)
    assert [(row["skill"], row["accuracy"], row["f1"], row["prompts"]) for row in rows] == [
        ("x", 1, 1, 2),
        ("y", 0, 0, 2),
        ("z", 0, 0, 2),
        ("all", 1 / 3, 1 / 3, 6),
    ]


ICL = ["data=word_functions", "data.num_train=40", "data.num_validation=8", "callback=few_shot"]
ICL += ["position=learned", "decoding=greedy", "callbacks.few_shot.max_new_tokens=3"]
ICL += ["callbacks.few_shot.prompts=3"]


def words_run(out: Path, *more: str) -> list[str]:
    small = [item for item in tiny(out) if not item.startswith(("data.max_b", "data.block"))]
    return [*small, *ICL, *more]


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.max_steps=0"],
        ["trainer.max_steps=2", "trainer.val_check_interval=1", "decoding=sample"],
        ["trainer.max_steps=0", "callbacks.few_shot.scoring=rank"],
        ["trainer.max_steps=0", "decoding=beam", "trainer.precision=bf16-mixed"],
    ],
)
def test_a_run_reports_it(tmp_path: Path, more: list[str]) -> None:
    """With no step and with some; once, at the end."""
    config = spec_of(words_run(tmp_path, *more))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    rows = Run(config).tables()["shots"]
    assert len(rows) == 5 * (8 + 1)
    for k in (0, 1, 2, 4, 6):
        part = [row["accuracy"] for row in rows if row["shots"] == k]
        assert summary.metrics[f"val/accuracy_k{k}"] == pytest.approx(sum(part[:8]) / 8)
        assert part[8] == summary.metrics[f"val/accuracy_k{k}"]
    assert all(0 <= row["accuracy"] <= row["f1"] <= 1 for row in rows)
    prompts = {row["skill"]: row["prompts"] for row in rows}
    assert prompts == dict.fromkeys(FUNCTIONS, 3) | {"all": 24}


def test_a_prompt_without_places() -> None:
    data = words()
    model = build(vocab_size=259)
    task = Asked(data, model, Greedy())
    model.position.max_length = 40  # type: ignore[assignment]
    callback = FewShot(shots=[6], max_new_tokens=3)
    with pytest.raises(
        UserError, match=r"needs 5\d places, more than position.max_length=40; show"
    ):
        callback.check(task)
    FewShot(shots=[2], max_new_tokens=3).check(task)
    cut = FewShot(shots=[6], max_new_tokens=3, overflow="truncate_left")
    whole = list(range(100))
    assert cut._fitted(task, whole) == [0, *range(63, 100)]
    assert len(cut._fitted(task, whole)) + 2 == 40
    with pytest.raises(UserError, match="needs"):
        FewShot(max_new_tokens=50, overflow="truncate_left")._fitted(task, whole)


class Forgetful(ByteTokenizer):
    """Blanks and line ends are gone, as BERT's are."""

    def decode(self, ids: Any) -> str:
        return super().decode(ids).replace("\n", " ")


def test_mistakes(tmp_path: Path) -> None:
    skill = Skill("s", list(BIRDS), list(BIRDS))
    for task, callback, line in (
        (
            Asked(Texts([skill])),
            FewShot(shots=[1]),
            "nothing writes an answer; use decoding=greedy",
        ),
        (
            Asked(Texts([skill], Forgetful()), decoding=Greedy()),
            FewShot(shots=[1]),
            r"separator '>' and the end of a line do not survive the tokenizer .*=bytes$",
        ),
        (
            Asked(Texts([skill]), decoding=Greedy()),
            FewShot(shots=[2]),
            "s has 1 examples beside a query; lower callbacks.few_shot.shots",
        ),
    ):
        with pytest.raises(UserError, match=line):
            callback.check(task)
    for arguments, line in (
        ({"shots": []}, "shots names no number"),
        ({"shots": [1, -1]}, "shots must be at least 0, not -1"),
        ({"prompts": 0}, "prompts must be at least 1"),
        ({"separator": ""}, "separator must not be empty"),
        ({"queries": "x.json"}, "queries needs examples"),
    ):
        with pytest.raises(ValueError, match=line):
            FewShot(**arguments)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"mask=prefix: a prompt's length is not the mask's"):
        resolve(["data=word_functions", "callback=few_shot", "mask=prefix", "mask.length=4"])


def write(path: Path, rows: list[tuple[str, Any]]) -> str:
    text = "\n".join(json.dumps({"sentence": x, "name": y}) for x, y in rows)
    path.write_text(text, encoding="utf-8")
    return str(path)


COLUMNS = {"text": "sentence", "label": "name"}


def test_labelled_texts_of_a_file(tmp_path: Path) -> None:
    shown = write(tmp_path / "a.json", [("one\ntwo", 3), ("three  four", 5), ("six", 3)])
    skill = labelled(shown, None, COLUMNS, 7)
    assert skill.examples == [
        Example("one two", "3", ("3", "5")),
        Example("three f", "5", ("3", "5")),
        Example("six", "3", ("3", "5")),
    ]
    assert (skill.name, skill.queries) == ("a", skill.examples)
    odd = write(tmp_path / "b.json", [("seven", 7)])
    with pytest.raises(UserError, match=r"b\.json: no example has the label '7'"):
        labelled(shown, odd, COLUMNS, None)
    with pytest.raises(UserError, match=r"all rows have the label '7'; there is no choice"):
        labelled(odd, None, COLUMNS, None)
    with pytest.raises(UserError, match=r"callbacks\.few_shot\.examples: no file nowhere"):
        labelled("nowhere.json", None, COLUMNS, None)
    empty = write(tmp_path / "c.json", [("", 7)])
    with pytest.raises(UserError, match="neither a text nor a number"):
        labelled(empty, None, COLUMNS, None)


def test_a_file_s_content_is_part_of_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [("one", "x"), ("two", "y"), ("three", "x")])
    run = tiny(tmp_path / "out", "callback=few_shot", f"callbacks.few_shot.examples={path}")
    run += ["callbacks.few_shot.columns={text: sentence, label: name}", "trainer.max_steps=0"]
    run += ["callbacks.few_shot.shots=[0,1]", "callbacks.few_shot.scoring=rank"]
    before = spec_of(run)
    summary = execute(before)
    assert summary.status == "finished", summary.error
    assert 0 <= summary.metrics["val/accuracy_k1"] <= 1
    write(tmp_path / "a.json", [("one", "x"), ("two", "y"), ("four", "x")])
    assert spec_of(run).id != before.id


def test_real_texts_are_ranked(tmp_path: Path, shared_data: Path) -> None:
    """IFLYTEK: which of its 119 classes does an app's description name?"""
    folder = shared_data / "iflytek"
    callback = FewShot(
        shots=[0, 2],
        prompts=3,
        scoring="rank",
        average="mean",
        separator=" 类别:",
        examples=str(folder / "train_few_all.json"),
        queries=str(folder / "dev_few_all.json"),
        columns={"text": "sentence", "label": "label_des"},
        text_length=12,
    )
    task = Asked(Texts([]))
    asked = callback.asked(task.data)
    assert len(asked) == 3
    assert all(len(question.query.candidates) == 119 for question in asked)
    text = prompt(asked[0].shown, asked[0].query.text, " 类别:")
    assert text.count("\n") == 2
    assert text.endswith(f"{asked[0].query.text} 类别:")
    assert len(asked[0].query.text) <= 12
    callback.check(task)
    with torch.no_grad():
        answers = list(callback.answers(task, asked, 2))
    assert all(a in q.query.candidates for a, q in zip(answers, asked, strict=True))
