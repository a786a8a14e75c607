import pytest
from hypothesis import given
from hypothesis import strategies as st

from suexp.data.document import Document, capped, of_split, share, without_repeats


def documents(*texts: str) -> list[Document]:
    return [Document(text, text) for text in texts]


def test_share_is_uniform_and_fixed() -> None:
    shares = sorted(share(str(i)) for i in range(10_000))
    assert max(abs(value - i / 10_000) for i, value in enumerate(shares)) < 0.02  # Kolmogorov
    assert share("compound") == share("compound") != share("compound", "order")
    assert 0 <= shares[0] < shares[-1] < 1


@pytest.mark.slow
@given(st.sets(st.text(), max_size=50), st.floats(0.01, 0.99))
def test_splits_are_disjoint_and_complete(texts: set[str], fraction: float) -> None:
    docs = documents(*sorted(texts))
    train = {doc.text for doc in of_split(docs, "train", fraction)}
    validation = {doc.text for doc in of_split(docs, "validation", fraction)}
    assert not train & validation
    assert train | validation == texts


@given(st.sets(st.text(), min_size=1), st.text())
def test_a_document_stays_where_it_is_when_others_come(texts: set[str], new: str) -> None:
    def held_out(names: set[str]) -> set[str]:
        return {doc.text for doc in of_split(documents(*names), "validation", 0.5)}

    assert held_out(texts) - {new} == held_out(texts | {new}) - {new}


def test_cap_counts_bytes_and_never_cuts_a_character() -> None:
    docs = documents("añb", "cd", "ef")  # 4, 2, 2 bytes
    assert [doc.text for doc in capped(docs, None)] == ["añb", "cd", "ef"]
    assert [doc.text for doc in capped(docs, 5)] == ["añb", "c"]
    assert [doc.text for doc in capped(docs, 2)] == ["a"]
    assert [doc.text for doc in capped(docs, 6)] == ["añb", "cd"]


def test_long_paragraphs_stay_once() -> None:
    long = "A paragraph that is long enough to give away where it was copied from, word for word."
    found = without_repeats(
        [
            ("a", f"Short.\n\n{long}"),
            ("b", f"Short.\n \n{long.replace(' ', chr(10))}\n\nMore."),
            ("c", long),
        ]
    )
    assert found == {"a": f"Short.\n\n{long}", "b": "Short.\n\nMore."}
