"""Start from a parent that was saved in the hub's format, read as one layout or the other."""

import tempfile
from typing import ClassVar, Literal

import torch
from torch import nn

from suexp.errors import one_of
from suexp.transform._export import save_hub
from suexp.transform.base import Transform
from suexp.transform.pretrained import Pretrained


class Reload(Transform):
    r"""$\theta \leftarrow \mathrm{read}_{layout}(\mathrm{write}_{GPT-2}(\theta_{parent}))$.

    The parent, a GPT-2, goes to disk as the hub has it (``config.json``, ``model.safetensors``) and
    is read from there as ``transform=pretrained`` reads any checkpoint. With ``layout=gpt2`` the
    child computes what its parent did, bit for bit. With ``layout=gpt2_ml`` it takes GPT-2 for
    GPT2-ML: nothing is missing and no shape is wrong, since both have 2L + 1 norms, but the
    residual branch of each attention then runs through a norm. The child needs
    model.norm_order=gpt2_ml and model.embedding_norm=true for that, and a refusal says so.

    References: https://kexue.fm/archives/7912; Zhang et al., CPM, arXiv:2012.00413; GPT2-ML,
    https://github.com/imcaspar/gpt2-ml.

    Args:
        layout: ``gpt2`` or ``gpt2_ml``.

    Raises:
        ValueError: another layout.
        UserError: a parent that is no GPT-2, or a child that is not of that layout.
    """

    keeps = False

    needs: ClassVar[dict[str, str]] = {
        "parent": "it starts from another run, a GPT-2; name it with "
        "parent=['position=learned','model.ffn=gelu_tanh','model.bias=true']"
    }

    def __init__(self, layout: Literal["gpt2", "gpt2_ml"] = "gpt2") -> None:
        one_of(("gpt2", "gpt2_ml"), layout=layout)
        self.layout: Literal["gpt2", "gpt2_ml"] = layout

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Write and read.

        Raises:
            UserError: a parent that is no GPT-2, or a child that is not of that layout.
        """
        with tempfile.TemporaryDirectory() as folder:
            save_hub(parent, folder)
            Pretrained(folder, layout=self.layout).load(child)
