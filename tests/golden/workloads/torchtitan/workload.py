"""The model of llama2-13b-seq4096-mbs2-ac-selective-layer-2-2e3e5d48 as a flavor of torchtitan's Llama. Written by hpcscale 0.1.0."""

from torchtitan.models.llama3 import TransformerModelArgs
from torchtitan.protocols.train_spec import get_train_spec

get_train_spec("llama3").model_args["point"] = TransformerModelArgs(
    dim=5120,
    n_layers=40,
    n_heads=40,
    n_kv_heads=40,
    vocab_size=32000,
    multiple_of=13824,
    ffn_dim_multiplier=0.01,
    norm_eps=1e-05,
    rope_theta=10000.0,
)
