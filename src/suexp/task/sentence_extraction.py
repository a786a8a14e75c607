"""Choose the sentences of a document that its summary needs."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.data.base import Data
from suexp.data.docstring_extract import Extract
from suexp.errors import between, one_of
from suexp.nn.overlap import UNITS, main_score, units
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated

Choice = Literal["model", "lead", "random", "whole", "oracle"]


class SentenceExtraction(Evaluated):
    r"""$L = -\frac1N \sum_i y_i \log p_i + (1 - y_i) \log(1 - p_i)$, $p_i = \sigma(s_i)$.

    The model gives a score $s_i$ to each of the N sentences of a batch's documents, padding left
    out; $y_i$ says whether the summary needs it. The sentences with $p_i$ above the threshold are
    chosen, at least the likeliest one.

    Logged for validation: ``loss``, in nats per sentence; ``main``, the mean
    `suexp.nn.overlap.main_score` of the chosen sentences against the summary; ``hit_rate``, the
    share of the documents of which a needed sentence is chosen; ``selected``, how many sentences
    are.

    Post: https://kexue.fm/archives/8046.

    Args:
        threshold: of a chosen sentence; 0.2 in the post, for which recall counts more.
        choose: by ``model``, or, to compare with, ``lead``, the first sentence; ``random``, one of
            them, of which the figures are the expectation; ``whole``, all of them; ``oracle``, the
            needed ones.
        unit: what overlaps are counted in: ``alphanumeric``, ``word`` or ``character``.

    Raises:
        ValueError: a threshold outside [0, 1], an unknown choice or unit.
    """

    provides: ClassVar[set[str]] = {"extraction"}
    needs: ClassVar[dict[str, str]] = {
        "sentence_labels": "it judges the sentences of documents; use data=docstring_extract",
        "sentence_scores": "it needs a score of each sentence; use model=dgcnn_tagger",
    }

    def __init__(
        self,
        threshold: float = 0.2,
        choose: Choice = "model",
        unit: Literal["alphanumeric", "word", "character"] = "alphanumeric",
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        between("[0, 1]", threshold=threshold)
        one_of(get_args(Choice), choose=choose)
        one_of(UNITS, unit=unit)
        self.threshold, self.choose, self.unit = threshold, choose, unit
        names = ("loss", "main", "hit_rate", "selected")
        self.figures = nn.ModuleDict({name: weighted_mean() for name in names})
        self._sample: str | None = None

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of a sentence's vector."""
        return {"input_dim": data.sizes["input_dim"]}

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the sentences."""
        return self._loss(self.model(batch["x"], batch["keep"]), batch)

    def terms(self, batch: dict[str, Tensor]) -> Tensor:
        """Return how many sentences there are."""
        return batch["keep"].sum()

    def _loss(self, scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
        keep = batch["keep"]
        label = batch["label"][keep].to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores[keep], label)

    @torch.no_grad()
    def probabilities(self, numbers: Sequence[int]) -> Iterator[tuple[int, Float[Tensor, " n"]]]:
        """Yield the number of each of these documents of the data, and $p_i$ of its sentences."""
        self.eval()
        for start in range(0, len(numbers), self.data.eval_batch_size):
            some = numbers[start : start + self.data.eval_batch_size]
            batch = self.data.collate([self.data.row(number) for number in some])  # type: ignore[attr-defined]
            scores = self.model(batch["x"], batch["keep"])
            for number, score, keep in zip(some, scores, batch["keep"], strict=True):
                yield number, torch.sigmoid(score[keep].float())

    def chosen(self, probabilities: Float[Tensor, " n"]) -> list[int]:
        """Return which sentences of a document are chosen, in their order."""
        found = (probabilities > self.threshold).nonzero().flatten().tolist()
        return found or [int(probabilities.argmax())]

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add what is chosen of the batch's documents."""
        scores = self.model(batch["x"], batch["keep"])
        count = self.terms(batch)
        self.figures["loss"].update(self._loss(scores, batch), weight=count)  # type: ignore[operator]
        for row, keep in enumerate(batch["keep"]):
            label = batch["label"][row][keep].tolist()
            document = self.data.documents[int(batch["document"][row])]  # type: ignore[attr-defined]
            choices = self._choices(torch.sigmoid(scores[row][keep].float()), label)
            for places in choices:
                found = {
                    "main": self._main(document, places),
                    "hit_rate": float(any(label[place] for place in places)),
                    "selected": float(len(places)),
                }
                for name, value in found.items():
                    self.figures[name].update(value, weight=1 / len(choices))  # type: ignore[operator]
            self._sample = self._sample or self._shown(document, choices[0])

    def _choices(self, p: Float[Tensor, " n"], label: list[int]) -> list[list[int]]:
        """Return what may be chosen of a document, with equal probabilities."""
        every = [*range(len(label))]
        found = {
            "lead": [[0]],
            "random": [[place] for place in every],
            "whole": [every],
            "oracle": [[place for place in every if label[place]]],
        }
        return [self.chosen(p)] if self.choose == "model" else found[self.choose]

    def _main(self, document: Extract, places: Sequence[int]) -> float:
        text = " ".join(document.sentences[place] for place in places)
        return main_score(units(text, self.unit), units(document.summary, self.unit))

    def _shown(self, document: Extract, places: Sequence[int]) -> str:
        chosen = " ".join(document.sentences[place] for place in places)
        return f"{' '.join(document.sentences)}\n-> {chosen}\n   ({document.summary})"

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        self.report({f"{split}/{name}": one.compute() for name, one in self.figures.items()})  # type: ignore[operator]
        for figure in self.figures.values():
            figure.reset()  # type: ignore[operator]

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return super().worst(split) | {f"{split}/{name}": 0.0 for name in ("main", "hit_rate")}

    def finish(self) -> str | None:
        """Return a document, what was chosen of it, and its summary."""
        return self._sample
