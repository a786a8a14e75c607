"""Each callback says what it needs: for each a config in which it fits, and one that is refused."""

import pytest

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.folders import conf_dir

LM = "use task=causal_lm or task=masked_lm"
LIKELIHOODS = "use task=autoencode_lm, task=masked_lm or task=causal_lm"
IRIS = ["task=classification", "data=sklearn", "data.name=iris", "model=linear"]
FORMULA = ["task=analytic_classification"]
COUNTS = ["task=kernel_estimation"]
# callback -> what it fits, what it does not, and the reason.
CASES: dict[str, tuple[list[str], list[str], str]] = {
    "attention_map": ([], IRIS, "needs attention: it shows where attention looks"),
    "attention_stats": ([], IRIS, "needs attention: it measures what attention does"),
    "calibration": (IRIS, [], "needs classes: it looks at one class a row"),
    "chunk_scan": (["task=matching"], [], "needs loss on vectors: it differentiates losses"),
    "code_swap": (["task=autoencode_text"], [], "needs text codes: it swaps codes of texts"),
    "decision_grid": ([*IRIS, "data.columns=[2,3]"], IRIS, "needs plane: it draws the plane"),
    "density_grid": (["task=score_energy"], IRIS, "needs plane: it draws the plane; use data=ring"),
    "ema": ([], FORMULA, "needs optimizer: nothing is trained here"),
    "few_shot": (
        ["data=word_functions"],
        [],
        "needs prompts: it needs examples to show; use data=word_functions, or name a file",
    ),
    "gradient_error": (["task=matching"], [], "needs loss on vectors: it compares gradients"),
    "gradient_norm": ([], IRIS, "needs layers: it compares the layers' gradients"),
    "gradient_sign": (IRIS, FORMULA, "needs optimizer: it compares gradients"),
    "kmeans_energy": (["task=hashing"], IRIS, "needs codes: it compares a code's units"),
    "layer_moments": (IRIS, [], "needs vectors: it follows the states of vectors"),
    "layer_drift": ([], IRIS, "needs layers: it compares layers"),
    "input_robustness": (IRIS, [], "needs classes: it looks at one class a row"),
    "leak": (["task=masked_lm"], ["task=classification"], "needs language model: it looks at each"),
    "leave_one_out": (["task=masked_lm"], [], "needs fill in: it asks for tokens between others"),
    "lengths": ([], ["task=matching"], f"needs language model: it reads running text; {LM}"),
    "likelihood_time": ([], ["task=classification"], f"likelihoods of texts; {LIKELIHOODS}"),
    "logit_argmax": (IRIS, ["task=matching"], "needs classes: it looks at one class a row"),
    "loss_curve": ([], ["task=matching"], "needs class scores: it asks the loss about scores"),
    "memorisation": ([*IRIS, "alter=label_noise"], IRIS, "needs label noise: it compares wrong"),
    "optimizer_diagnostics": (
        ["optimizer=sgdm"],
        [],
        "needs diagnostics: it asks the optimizer for its figures",
    ),
    "other_loss": ([], IRIS, "needs text: it measures the task's loss on other texts"),
    "path_kernel": (
        ["task=classification", "data=sklearn", "model=mlp", "optimizer=sgd"],
        ["task=classification", "data=sklearn", "model=mlp", "optimizer=adam"],
        "needs optimizer=sgd: a kernel of the path is",
    ),
    "places": (
        ["callbacks.places.split_at=8"],
        ["callbacks.places.split_at=8", "task=classification"],
        f"needs language model: it reads running text; {LM}",
    ),
    "position_cosine": (["position=learned"], [], "needs position=learned or position=hierarchi"),
    "prefix_gap": (["task=seq2seq"], [], "needs prefix length: it replaces tokens of targets"),
    "recall_lengths": (
        ["task=classification", "data=recall"],
        ["task=classification"],
        "needs recall: it draws texts of other lengths",
    ),
    "reranking": ([], ["task=classification"], f"compares likelihoods of texts; {LIKELIHOODS}"),
    "retrieval": ([], ["task=seq2seq", "model=encoder_decoder", "mask=causal"], "hidden states"),
    "sample_quality": (["task=score_energy"], IRIS, "needs samples: it compares drawn points"),
    "score_bias": ([], IRIS, "needs attention: it shows what is added to the scores"),
    "score_spectrum": ([], IRIS, "needs attention: it measures the scores of attention"),
    "shadow": ([], FORMULA, "needs optimizer: it steps a second optimizer"),
    "similar_samples": (
        ["task=similar_sentence"],
        ["task=seq2seq"],
        "needs similar sentences: it writes similar sentences; use task=similar_sentence",
    ),
    "source_gap": (["task=similar_sentence"], [], "needs prefix length: it hides words of sources"),
    "smoothness": (IRIS, FORMULA, "needs optimizer: it follows the gradient"),
    "step_cost": (["task=matching"], COUNTS, "needs optimizer: it measures training steps"),
    "teacher_cosines": (
        [
            "task=similar_sentence",
            "method=similarity_distill",
            "sources={teacher:['callback=none']}",
        ],
        ["task=similar_sentence"],
        "needs teacher vectors: it compares with a teacher; use method=similarity_distill",
    ),
    "untied_distance": ([], IRIS, "needs feed forward or counter: it looks at units of"),
    "update_size": (IRIS, FORMULA, "needs optimizer: it measures the optimizer's steps"),
    "weight_noise": (IRIS, COUNTS, "needs optimizer: it measures the training loss around"),
}


def test_there_is_a_case_for_every_callback() -> None:
    assert {path.stem for path in (conf_dir() / "callback").glob("*.yaml")} == {*CASES, "none"}


@pytest.mark.parametrize("name", CASES)
def test_a_callback_fits_one_config_and_refuses_another(name: str) -> None:
    fits, other, reason = CASES[name]
    assert name in resolve([f"callback={name}", *fits]).config["callbacks"]
    with pytest.raises(UserError) as raised:
        resolve([f"callback={name}", *other])
    line = str(raised.value)
    assert line.startswith(f"callback={name} needs ")
    assert reason in line
    resolve([item for item in other if not item.startswith("callbacks.")])  # it alone was wrong


REFUSED = [
    (
        ["callback=lengths", "mask=prefix", "mask.length=4"],
        "callback=lengths cannot be combined with mask=prefix: it cuts texts, which have no "
        "prefix; use mask=causal",
    ),
    (
        ["callback=lengths", "position=learned"],
        "callbacks.lengths.lengths: a text of 512 tokens is longer than position.max_length=128; "
        "set position.max_length=512, or use position=rope",
    ),
    (
        ["callback=likelihood_time", "position=learned", "callbacks.likelihood_time.lengths=[256]"],
        "callbacks.likelihood_time.lengths: a text of 256 tokens is longer than "
        "position.max_length=128; set position.max_length=256, or use position=rope",
    ),
    (
        ["callback=retrieval", "position=learned", "callbacks.retrieval.data.block_size=200"],
        "callbacks.retrieval.data.block_size: a text of 200 tokens is longer than "
        "position.max_length=128; set position.max_length=200, or use position=rope",
    ),
    (
        ["callback=retrieval", "callbacks.retrieval.data._target_=suexp.data.pydoc.PyDoc"],
        "callback=retrieval needs data.pairs: it finds a text's partner; name data with pairs of "
        "texts, suexp.data.docstring_pairs.DocstringPairs, say",
    ),
    (
        ["+callbacks.grid._target_=suexp.callback.decision_grid.DecisionGrid"],
        "callbacks.grid needs classes: it draws the borders between classes; use "
        "task=classification",
    ),
    (
        ["callback=gradient_norm", "task=matching", "model=bag_encoder", "model.num_layers=0"],
        "callback=gradient_norm needs layers: it compares the layers' gradients, and the model has "
        "no list of layers; use model=transformer, or leave it out",
    ),
]


@pytest.mark.parametrize(("overrides", "line"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_a_callback_refuses(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve(overrides)
    assert str(raised.value) == line
