"""What a checkpoint's config.json says of its model, as settings of ours."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]
# The values of a setting that are right, the one to take first; none, where nothing is.
Right = tuple[Any, ...]

# Their names of activations; torch and transformers have several for one formula.
ACTIVATIONS = {
    "gelu": ("gelu", "gelu_python"),
    "gelu_tanh": (
        *("gelu_new", "gelu_fast", "gelu_accurate", "gelu_python_tanh", "gelu_pytorch_tanh"),
    ),
    "relu": ("relu",),
}
# Fields that no logit depends on: of training, files, tokens, labels, generation.
HARMLESS = re.compile(
    r".*_token_id|.*dropout.*|.*_pdrop|summary_.*|pooler_.*|output_.*|_.*|(torch_)?dtype"
    r"|architectures|model_type|transformers_version|tokenizer_class|initializer_range|use_cache"
    r"|id2label|label2id|num_labels|problem_type|finetuning_task|task_specific_params|prefix"
    r"|(use_)?return_dict\w*|torchscript|use_bfloat16|tf_legacy_loss|n_ctx|directionality"
    r"|chunk_size_feed_forward|gradient_checkpointing|reorder_and_upcast_attn|attn_implementation"
    r"|is_encoder_decoder|tie_encoder_decoder|tie_word_embeddings|cross_attention_hidden_size"
    r"|(max|min)_length|do_sample|early_stopping|num_(beams|beam_groups|return_sequences)"
    r"|(encoder_)?no_repeat_ngram_size|top_[kp]|typical_p|temperature|\w*_penalty|bad_words_ids"
    r"|\w*suppress_tokens|remove_invalid_values"
)
# Scores over the layer's number, from 1; see `suexp.transform._names.layers_scaled`.
LAYER_SCALE = "scale_attn_by_inverse_layer_idx"


@dataclass(frozen=True)
class Field:
    """A field of config.json that the logits depend on.

    Attributes:
        default: its value where it is not there.
        key: our setting that it decides; none: only the default can be computed.
        right: makes the setting's values of the field's, and of all fields.
        taken: further values, that go into the weights as they are read.
    """

    default: Any
    key: str = ""
    right: Callable[[Any, Config], Right] = lambda value, _: (value,)
    taken: Right = ()


@dataclass(frozen=True)
class Asked:
    """What a checkpoint wants of a setting.

    Attributes:
        field: of config.json; none: all checkpoints of the kind want it.
        said: the field's value.
        key: our setting; none: no setting does what the field says.
        right: its values that are right.
    """

    field: str
    said: Any
    key: str
    right: Right


def _one_of(names: Mapping[Any, tuple[Any, ...]]) -> Callable[[Any, Config], Right]:
    """Return what finds our name of one of theirs."""
    return lambda value, _: tuple(ours for ours, theirs in names.items() if value in theirs)


def _over(dim: str) -> Callable[[Any, Config], Right]:
    """Return what divides the size of a hidden layer by that of the tokens."""

    def multiplier(value: Any, config: Config) -> Right:
        size = config[dim]
        whole = type(value) is type(size) is int and size > 0 and value % size == 0
        return (value // size,) if whole else () if value is not None else (4,)

    return multiplier


FIELDS = {
    "bert": {
        "hidden_size": Field(768, "model.dim"),
        "num_hidden_layers": Field(12, "model.num_layers"),
        "num_attention_heads": Field(12, "model.num_heads"),
        "intermediate_size": Field(3072, "model.ffn_multiplier", _over("hidden_size")),
        "hidden_act": Field("gelu", "model.ffn", _one_of(ACTIVATIONS)),
        "layer_norm_eps": Field(1e-12, "norm.eps"),
        "type_vocab_size": Field(2, "model.num_segments"),
        "max_position_embeddings": Field(512, "position.max_length"),
        "vocab_size": Field(30522, "data.vocab"),
        "is_decoder": Field(False, "mask", _one_of({"bidirectional": (False,), "causal": (True,)})),
        "position_embedding_type": Field("absolute"),
        "add_cross_attention": Field(False),
        "pruned_heads": Field({}),
    },
    "gpt2": {
        "n_embd": Field(768, "model.dim"),
        "n_layer": Field(12, "model.num_layers"),
        "n_head": Field(12, "model.num_heads"),
        "n_inner": Field(None, "model.ffn_multiplier", _over("n_embd")),
        "activation_function": Field("gelu_new", "model.ffn", _one_of(ACTIVATIONS)),
        "layer_norm_epsilon": Field(1e-5, "norm.eps"),
        "n_positions": Field(1024, "position.max_length"),
        "vocab_size": Field(50257, "data.vocab"),
        "scale_attn_weights": Field(
            True, "attention.scale", _one_of({None: (True,), 1.0: (False,)})
        ),
        LAYER_SCALE: Field(False, taken=(True,)),
        "add_cross_attention": Field(False),
        "pruned_heads": Field({}),
    },
}
# What all checkpoints of a kind are.
KINDS: dict[str, dict[str, Right]] = {
    "bert": {
        "norm": ("layer",),
        "norm.bias": (True,),
        "model.norm_order": ("post",),
        "model.embedding_norm": (True,),
        "model.bias": (True,),
        "model.sharing": ("none",),
        "position": ("learned", "hierarchical"),
        "attention": ("softmax",),
        "attention.scale": (None,),
    },
    "gpt2": {
        "norm": ("layer",),
        "norm.bias": (True,),
        "model.norm_order": ("pre",),
        "model.embedding_norm": (False,),
        "model.bias": (True,),
        "model.sharing": ("none",),
        "model.num_segments": (0,),
        "model.head": ("plain",),
        "mask": ("causal",),
        "position": ("learned", "hierarchical"),
        "attention": ("softmax",),
    },
}
# A checkpoint of GPT-2 that is taken for one of GPT2-ML: every tensor has a place there, too.
FIELDS["gpt2_ml"] = FIELDS["gpt2"]
KINDS["gpt2_ml"] = KINDS["gpt2"] | {
    "model.norm_order": ("gpt2_ml",),
    "model.embedding_norm": (True,),
}


def asked(kind: str, config: Config) -> Iterator[Asked]:
    """Give what a checkpoint wants, and the fields that nothing is known of."""
    for key, right in KINDS[kind].items():
        yield Asked("", None, key, right)
    known = FIELDS[kind]
    full = {name: config.get(name, field.default) for name, field in known.items()}
    for name, field in known.items():
        if field.key:
            yield Asked(name, full[name], field.key, field.right(full[name], full))
        elif full[name] not in (field.default, *field.taken, None):
            yield Asked(name, full[name], "", ())
    for name, value in config.items():
        if name not in known and not HARMLESS.fullmatch(name) and value is not None:
            yield Asked(name, value, "", ())
