"""What a language model answers after a few examples, with nothing trained for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.data.examples import Example, Skill, labelled
from suexp.errors import UserError, at_least, one_of
from suexp.nn.overlap import rouge_n

DEMONSTRATIONS = ("right", "mixed", "shuffled")
COLUMNS = {"text": "text", "label": "label"}


@dataclass(frozen=True, slots=True)
class Question:
    """A query behind its demonstrations, and the skill that it asks for."""

    skill: str
    shown: tuple[Example, ...]
    query: Example


def prompt(shown: Sequence[Example], query: str, separator: str) -> str:
    r"""Return a line ``x{separator}y`` for each example, and ``x{separator}`` of the query."""
    lines = (f"{example.text}{separator}{example.answer}\n" for example in shown)
    return f"{''.join(lines)}{query}{separator}"


class FewShot(Callback, Component):
    r"""Once training is over: how often $y = \mathrm{answer}(x_1, y_1, \dots, x_k, y_k, x)$ holds.

    A prompt has k lines ``x{separator}y`` and one that ends at its separator; each text begins as
    running text does, behind an end of text. With ``scoring=generate`` the answer is what the
    task's decoding writes up to the end of the line, and must equal y. With ``rank`` it is the
    candidate c of the highest $\sum_t \log p(c_t | \cdot)$, or of the highest mean, over the tokens
    behind those that all candidates have in common, the end of the line included. A query has the
    same demonstrations for every k, of which the first k are shown, none of them the query itself.
    Prompts of different lengths are padded on the left, (b, n).

    Nothing is trained for it, so that a run of no steps tells what the start is worth
    (``trainer.max_steps=0``, with a checkpoint or without). Final: ``val/accuracy_k0`` and so on,
    the mean over all questions. The table ``shots`` has ``shots``, ``skill`` (also ``all``),
    ``accuracy``, ``f1`` (of the answer's tokens) and ``prompts``.

    References: https://kexue.fm/archives/7912; Brown et al., arXiv:2005.14165; demonstrations with
    wrong labels, Min et al., arXiv:2202.12837.

    Example: ``suexp data=word_functions callback=few_shot decoding=greedy position=learned``.

    Args:
        shots: the numbers k of demonstrations.
        prompts: queries of each skill, or as many as it has, spread over them.
        scoring: ``generate`` or ``rank``.
        average: what ranks candidates: the ``sum`` over their tokens, or the ``mean``.
        demonstrations: ``right``; ``mixed``, each of any skill; ``shuffled``, with the answer of
            another example.
        separator: between input and answer; it and the end of a line must survive the tokenizer.
        max_new_tokens: of a generated answer, the end of the line included.
        overflow: of a prompt longer than the model's positions: ``error``, or ``truncate_left``.
        examples: a local file of labelled texts, in the place of the skills that the data has.
        queries: another one, of the queries; null: the examples that are not shown.
        columns: what the files call ``text`` and ``label``.
        text_length: characters of a file's text, whose rest is left out; null: all.
        seed: of the choice of demonstrations, and of a decoding that draws.

    Raises:
        ValueError: a value out of range.
        UserError: no examples, a separator that the tokenizer loses, a prompt that is too long.
    """

    needs: ClassVar[dict[str, str]] = {
        "generation": "it asks a model that writes; use task=causal_lm",
        "language_model": "it asks a language model of running text; use task=causal_lm",
        "prompts if examples=None": "it needs examples to show; use data=word_functions, or name "
        "a file of labelled texts, callbacks.few_shot.examples=train.json",
    }
    refuses: ClassVar[dict[str, str]] = {
        "mask=prefix": "a prompt's length is not the mask's; use mask=causal"
    }
    paths: ClassVar[dict[str, tuple[str, ...]]] = {"examples": (), "queries": ()}

    def __init__(
        self,
        shots: Sequence[int] = (0, 1, 2, 4, 6),
        prompts: int = 20,
        scoring: Literal["generate", "rank"] = "generate",
        average: Literal["sum", "mean"] = "sum",
        demonstrations: Literal["right", "mixed", "shuffled"] = "right",
        separator: str = ">",
        max_new_tokens: int = 8,
        overflow: Literal["error", "truncate_left"] = "error",
        examples: str | None = None,
        queries: str | None = None,
        columns: dict[str, str] = COLUMNS,
        text_length: int | None = None,
        seed: int = 0,
    ) -> None:
        at_least(1, prompts=prompts, max_new_tokens=max_new_tokens, text_length=text_length)
        at_least(0, shots=shots)
        one_of(("generate", "rank"), scoring=scoring)
        one_of(("sum", "mean"), average=average)
        one_of(DEMONSTRATIONS, demonstrations=demonstrations)
        one_of(("error", "truncate_left"), overflow=overflow)
        if not shots:
            raise ValueError("shots names no number of examples")
        if not separator:
            raise ValueError("separator must not be empty: an answer would begin anywhere")
        if queries is not None and examples is None:
            raise ValueError("queries needs examples, the file that demonstrations are taken from")
        self.shots, self.prompts, self.scoring = sorted({*shots}), prompts, scoring
        self.average, self.demonstrations, self.separator = average, demonstrations, separator
        self.max_new_tokens, self.overflow = max_new_tokens, overflow
        self.examples, self.queries, self.columns = examples, queries, columns
        self.text_length, self.seed = text_length, seed

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what could not be measured after it.

        Raises:
            UserError: as said above.
        """
        del trainer, stage
        self.check(pl_module)

    def check(self, task: Any) -> None:
        """Refuse a task that cannot be asked, and prompts that it cannot read.

        Raises:
            UserError: as said above.
        """
        if not hasattr(task, "log_likelihoods") or not hasattr(task, "decoding"):
            raise UserError("callback=few_shot asks a language model; use task=causal_lm")
        if self.scoring == "generate" and task.decoding is None:
            raise UserError("callback=few_shot: nothing writes an answer; use decoding=greedy")
        asked = self.asked(task.data)
        self._check_tokens(task.data.tokenizer_, asked[0])
        most = max(self.shots)
        for question in asked:
            for tokens, _ in self._read(task, question, most):
                self._fitted(task, tokens)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask, once training is over."""
        if not is_last(trainer):
            return
        task: Any = pl_module
        asked = self.asked(task.data)
        task.tables.pop("shots", None)
        for shots in self.shots:
            answers = list(self.answers(task, asked, shots))
            right = [a == q.query.answer for a, q in zip(answers, asked, strict=True)]
            task.final[f"val/accuracy_k{shots}"] = sum(right) / len(right)
            task.record_rows("shots", self._rows(task, shots, asked, answers))

    def _rows(
        self, task: Any, shots: int, asked: Sequence[Question], answers: Sequence[str]
    ) -> list[dict[str, Any]]:
        encode = task.data.tokenizer_.encode
        rows = []
        for skill in (*dict.fromkeys(question.skill for question in asked), "all"):
            pairs = [
                (answer, question.query.answer)
                for answer, question in zip(answers, asked, strict=True)
                if skill in (question.skill, "all")
            ]
            f1 = [rouge_n([*map(str, encode(a))], [*map(str, encode(y))], 1) for a, y in pairs]
            right = sum(a == y for a, y in pairs)
            found = {"accuracy": right / len(pairs), "f1": sum(f1) / len(pairs)}
            rows.append({"shots": shots, "skill": skill, **found, "prompts": len(pairs)})
        return rows

    def asked(self, data: Any) -> list[Question]:
        """Return the questions with all their demonstrations, the same whenever it is asked.

        Raises:
            UserError: fewer examples than demonstrations.
        """
        if self.examples is None:
            skills = data.skills()
        else:
            skills = [labelled(self.examples, self.queries, self.columns, self.text_length)]
        generator = torch.Generator().manual_seed(self.seed)
        return [
            Question(skill.name, self._shown(skills, skill, query, generator), query)
            for skill in skills
            for query in skill.queries[:: max(len(skill.queries) // self.prompts, 1)][
                : self.prompts
            ]
        ]

    def _shown(
        self, skills: Sequence[Skill], skill: Skill, query: Example, generator: torch.Generator
    ) -> tuple[Example, ...]:
        """Draw the most demonstrations that are shown, without the query."""

        def draw(below: int) -> int:
            return int(torch.randint(below, (), generator=generator))

        most, pool = max(self.shots), skill.examples
        order = torch.randperm(len(pool), generator=generator).tolist()
        chosen = [i for i in order if pool[i].text != query.text][:most]
        if len(chosen) < most:
            raise UserError(
                f"callback=few_shot: {skill.name} has {len(chosen)} examples beside a query; lower "
                "callbacks.few_shot.shots"
            )
        shown = [pool[i] for i in chosen]
        if self.demonstrations == "mixed":
            pools = [skills[draw(len(skills))].examples for _ in chosen]
            shown = [other[i % len(other)] for other, i in zip(pools, chosen, strict=True)]
        elif self.demonstrations == "shuffled":
            shown = [Example(example.text, pool[draw(len(pool))].answer) for example in shown]
        return tuple(shown)

    def answers(self, task: Any, asked: Sequence[Question], shots: int) -> Iterator[str]:
        """Give the answers to the questions, each behind its first demonstrations."""
        if self.scoring == "rank":
            return (self._ranked(task, question, shots) for question in asked)
        return self._generated(task, asked, shots)

    def _generated(self, task: Any, asked: Sequence[Question], shots: int) -> Iterator[str]:
        tokenizer, device = task.data.tokenizer_, task.device
        generator = torch.Generator(device).manual_seed(self.seed)
        line_end = tokenizer.encode("\n")
        end = line_end[0] if len(line_end) == 1 else None
        rows = [self._fitted(task, self._read(task, question, shots)[0][0]) for question in asked]
        size = task.data.eval_batch_size
        for start in range(0, len(rows), size):
            tokens, keep = padded(rows[start : start + size], tokenizer.pad_id, device)
            new = task.decoding(
                task.model,
                tokens,
                self.max_new_tokens,
                end=end,
                keep=keep,
                generator=generator,
                normalizer=task.normalizer,
            )
            for text in new.texts(end):
                yield tokenizer.decode(text).split("\n")[0].strip()

    def _ranked(self, task: Any, question: Question, shots: int) -> str:
        rows = self._read(task, question, shots)
        fitted = [self._fitted(task, tokens) for tokens, _ in rows]
        scores = []
        # All logits of a batch exist at once: as many as there is room for.
        size = max(2**27 // (task.data.sizes["vocab_size"] * max(map(len, fitted))), 1)
        for start in range(0, len(rows), size):
            part = fitted[start : start + size]
            # log_likelihoods puts the end of a text before each itself; padding stands behind.
            texts = [torch.tensor(tokens[1:], device=task.device) for tokens in part]
            tokens = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
            found = task.log_likelihoods(tokens)
            for row, (text, (_, count)) in enumerate(
                zip(texts, rows[start : start + size], strict=True)
            ):
                own = found[row, max(len(text) - count, 0) : len(text)].double()
                scores.append(float(own.sum() if self.average == "sum" else own.mean()))
        return question.query.candidates[max(range(len(scores)), key=scores.__getitem__)]

    def _read(self, task: Any, question: Question, shots: int) -> list[tuple[list[int], int]]:
        """Return what is read for a question: tokens, and how many of the last are judged.

        One prompt, or the text of each candidate.
        """
        tokenizer = task.data.tokenizer_
        text = prompt(question.shown[:shots], question.query.text, self.separator)
        if self.scoring == "generate":
            return [([tokenizer.eot_id, *tokenizer.encode(text)], 0)]
        whole = [
            [tokenizer.eot_id, *tokenizer.encode(f"{text}{candidate}\n")]
            for candidate in question.query.candidates
        ]
        # Not those of the prompt alone: its last letters may have joined a candidate's first ones.
        columns = zip(*whole, strict=False)
        common = len(list(takewhile(lambda column: len({*column}) == 1, columns)))
        return [(tokens, len(tokens) - common) for tokens in whole]

    def _fitted(self, task: Any, tokens: list[int]) -> list[int]:
        """Return tokens that the model has places for.

        Raises:
            UserError: they are too many, and none may be cut off.
        """
        limit = getattr(task.model.position, "max_length", None)
        # Neither the last new token nor the last of a candidate is read.
        new = self.max_new_tokens - 1 if self.scoring == "generate" else -1
        if limit is None or len(tokens) + new <= limit:
            return tokens
        if self.overflow == "error" or new >= limit:
            raise UserError(
                f"callbacks.few_shot: a prompt needs {len(tokens) + new} places, more than "
                f"position.max_length={limit}; show fewer, or set position.max_length="
                f"{len(tokens) + new} or callbacks.few_shot.overflow=truncate_left"
            )
        return [tokens[0], *tokens[len(tokens) + new - limit + 1 :]]

    def _check_tokens(self, tokenizer: Any, question: Question) -> None:
        """Refuse a tokenizer that loses what tells inputs, answers and lines apart."""
        line = prompt([question.query], question.query.text, self.separator)
        back = tokenizer.decode(tokenizer.encode(line))
        if back.count("\n") != 1 or back.count(self.separator) < 2:
            raise UserError(
                f"callbacks.few_shot.separator {self.separator!r} and the end of a line do not "
                f"survive the tokenizer ({line[:40]!r} becomes {back[:40]!r}); choose another "
                "separator, or a tokenizer that keeps blanks: data.tokenizer=bytes"
            )


def padded(rows: Sequence[list[int]], pad: int, device: Any) -> tuple[Tensor, Tensor | None]:
    """Return rows in one table, padded on the left, and which tokens are real; None: all are."""
    longest = max(map(len, rows))
    table = [[pad] * (longest - len(row)) + row for row in rows]
    lengths = torch.tensor([[len(row)] for row in rows], device=device)
    keep = torch.arange(longest, device=device) >= longest - lengths
    return torch.tensor(table, device=device), None if bool(keep.all()) else keep
