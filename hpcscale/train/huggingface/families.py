"""How Hugging Face's classes of the four families call what a Model has: the keys of config.json, as data.

Source: transformers 5.23, configuration_*.py and modeling_*.py of llama, gpt2, mpt and bert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_ROPE_THETA = 10000.0  # for a config.json that says nothing
# Activations of both sides. gelu_new and gelu_pytorch_tanh are the same formula; the first is what is written.
GELUS = {"gelu": "gelu", "gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh"}


@dataclass(frozen=True)
class Key:
    """``name`` in config.json is ``field`` of Model. ``default``: of transformers, for a file without the key.

    ``words``: what Model calls the key's values, where that differs. ``field`` may be ``positions_rows``, which is no
    field of Model but the number of positions that it is trained with.
    """

    name: str
    field: str
    default: Any
    words: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Family:
    """``fixed``: keys with the one value that our transformer computes; ``shape``: what every model of the class is.

    ``written``: keys that describe how we trained, without a word on what is computed.
    """

    model_type: str
    architecture: str
    keys: tuple[Key, ...]
    shape: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)


NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}  # the model does not know them
DECODER = {"norm_placement": "pre", "causal": True, "token_types": 0, "head": "lm", "pooler": False}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        "llama",
        "LlamaForCausalLM",
        keys=(
            Key("vocab_size", "vocab", 32000),
            Key("num_hidden_layers", "layers", 32),
            Key("hidden_size", "hidden", 4096),
            Key("num_attention_heads", "heads", 32),
            Key("num_key_value_heads", "kv_heads", None),
            Key("intermediate_size", "ffn", 11008),
            Key("hidden_act", "mlp", "silu", {"silu": "swiglu", "swish": "swiglu"}),
            Key("rms_norm_eps", "norm_eps", 1e-6),
            Key("attention_bias", "biases", False),
            Key("mlp_bias", "biases", False),
            Key("tie_word_embeddings", "tied_embeddings", False),
            # and the keys of rotary positions: config.py
        ),
        shape={**DECODER, "positions": "rope", "norm": "rmsnorm"},
        written={"attention_dropout": 0.0},
    ),
    "gpt": Family(
        "gpt2",
        "GPT2LMHeadModel",
        keys=(
            Key("vocab_size", "vocab", 50257),
            Key("n_layer", "layers", 12),
            Key("n_embd", "hidden", 768),
            Key("n_head", "heads", 12),
            Key("n_inner", "ffn", None),
            Key("n_positions", "positions_rows", 1024),
            Key("activation_function", "mlp", "gelu_new", GELUS),
            Key("layer_norm_epsilon", "norm_eps", 1e-5),
            Key("tie_word_embeddings", "tied_embeddings", True),
        ),
        shape={**DECODER, "positions": "learned", "norm": "layernorm", "biases": True},
        fixed={
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
        },
        written={"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    ),
    "mpt": Family(
        "mpt",
        "MptForCausalLM",
        keys=(
            Key("vocab_size", "vocab", 50368),
            Key("n_layers", "layers", 24),
            Key("d_model", "hidden", 2048),
            Key("n_heads", "heads", 16),
            Key("layer_norm_epsilon", "norm_eps", 1e-5),
            Key("tie_word_embeddings", "tied_embeddings", True),
        ),
        shape={**DECODER, "positions": "alibi", "norm": "layernorm", "biases": False, "mlp": "gelu"},
        fixed={
            "no_bias": True,
            "expansion_ratio": 4,  # MptForCausalLM computes with 4, whatever the key says
            "logit_scale": None,
            "attn_config.alibi": True,
            "attn_config.alibi_bias_max": 8,
            "attn_config.attn_type": "multihead_attention",
            "attn_config.clip_qkv": None,
            "attn_config.qk_ln": False,
            "attn_config.prefix_lm": False,
            "attn_config.softmax_scale": None,
        },
        written={"learned_pos_emb": False, "resid_pdrop": 0.0, "emb_pdrop": 0.0},
    ),
    "bert": Family(
        "bert",
        "BertForMaskedLM",
        keys=(
            Key("vocab_size", "vocab", 30522),
            Key("num_hidden_layers", "layers", 12),
            Key("hidden_size", "hidden", 768),
            Key("num_attention_heads", "heads", 12),
            Key("intermediate_size", "ffn", 3072),
            Key("max_position_embeddings", "positions_rows", 512),
            Key("type_vocab_size", "token_types", 2),
            # the head has the same activation, and ours is the exact one
            Key("hidden_act", "mlp", "gelu", {"gelu": "gelu"}),
            Key("layer_norm_eps", "norm_eps", 1e-12),
        ),
        shape={
            "positions": "learned", "norm": "layernorm", "norm_placement": "post", "biases": True, "causal": False,
            "head": "mlm", "pooler": False, "tied_embeddings": True,
        },
        fixed={"is_decoder": False, "add_cross_attention": False, "tie_word_embeddings": True},
        written={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    ),
}  # fmt: skip
