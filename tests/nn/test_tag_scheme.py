import pytest
import torch

from suexp.nn.tag_scheme import Spans, allowed, parse, scheme_of


def test_segmentation_allows_what_cuts_a_text_into_words() -> None:
    start, end, pairs = allowed("sbie", ["S", "B", "I", "E"])
    assert start.tolist() == [True, True, False, False]
    assert end.tolist() == [True, False, False, True]
    assert pairs.int().tolist() == [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]]


def test_bio_goes_on_only_with_the_same_type() -> None:
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    start, end, pairs = allowed("bio", names)
    assert start.tolist() == [True, True, False, True, False]
    assert end.all()
    follows = {
        name: [names[j] for j in row.nonzero().flatten()]
        for name, row in zip(names, pairs, strict=True)
    }
    assert follows["O"] == ["O", "B-PER", "B-LOC"]
    assert follows["I-PER"] == ["O", "B-PER", "I-PER", "B-LOC"]


def test_bioes_spans_must_be_closed() -> None:
    names = ["O", "B-A", "I-A", "E-A", "S-A", "I-B"]
    start, end, pairs = allowed("bioes", names)
    assert start.tolist() == [True, True, False, False, True, False]
    assert end.tolist() == [True, False, False, True, True, False]
    assert pairs[1].tolist() == [False, False, True, True, False, False]
    assert pairs[3].tolist() == [True, True, False, False, True, False]


def test_the_scheme_that_has_all_letters() -> None:
    assert scheme_of(["B", "E", "M", "S"]) == "sbie"
    assert scheme_of(["B-PER", "I-PER", "O"]) == "bio"
    assert scheme_of(["B-X", "E-X", "M-X", "O"]) == "bioes"
    assert scheme_of(["NOUN"]) == "bioes"


def test_other_letters_for_the_same() -> None:
    assert parse("sbie", ["B", "M", "E", "S"]) == parse("sbie", ["B", "I", "E", "S"])


@pytest.mark.parametrize(
    ("scheme", "names", "message"),
    [
        ("iob", ["O"], "scheme 'iob' is none of sbie, bio, bioes"),
        ("sbie", ["O", "B-PER"], r"with no tag of scheme sbie \(S, B, I, E\); use scheme=bio"),
        ("bio", ["B-X", "M-X", "E-X", "O"], "use scheme=bioes"),
        ("bio", ["NOUN"], "label 'NOUN' begins with no tag of scheme bio"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit(scheme: str, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(scheme, names)


def test_spans_are_exact_and_padding_marks_none() -> None:
    names = ["S", "B", "I", "E"]
    wanted = torch.tensor([[0, 1, 3, 1, 2, 3, 0, 0]])  # 6 letters are real: x | xx | xxx
    found = torch.tensor([[0, 1, 3, 1, 3, 0, 1, 3]])
    mask = torch.arange(8)[None] < 6
    assert Spans("sbie", names).count(found, wanted, mask).tolist() == [2, 4, 3]
    assert Spans("sbie", names).count(wanted, wanted, mask).tolist() == [3, 3, 3]
    types = ["O", "B-A", "B-B"]
    one, other = torch.tensor([[0, 1]]), torch.tensor([[0, 2]])
    assert Spans("bio", types).count(one, other, mask[:, :2]).tolist() == [0, 1, 1]
