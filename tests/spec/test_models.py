"""The model catalogue: shapes, defaults and exact parameter counts."""

from __future__ import annotations

import pytest

from hpcscale.cost.parameters import count
from hpcscale.spec import model
from hpcscale.spec.problems import InputError
from hpcscale.spec.yaml12 import Document

# Published counts: llm-foundry's tables (MPT, exact integers at several lengths), Hugging Face's models on the meta device
# (Llama, BERT's masked-language model), DeepSpeedFugaku's logs (GPT 30B with the vocabulary padded for its tp).
PUBLISHED = [
    ("mpt-125m", 2048, 1, 125311488),
    ("mpt-350m", 2048, 1, 355985408),
    ("mpt-760m", 2048, 1, 760470528),
    ("mpt-1b", 2048, 1, 1315950592),
    ("mpt-3b", 2048, 1, 2651837440),
    ("mpt-7b", 2048, 1, 6658859008),
    ("mpt-7b", 512, 1, 6652567552),
    ("mpt-7b", 65536, 1, 6918905856),
    ("mpt-13b", 2048, 1, 12853954560),
    ("mpt-30b", 2048, 1, 29975214080),
    ("mpt-70b", 2048, 1, 64862437376),
    ("llama2-7b", 4096, 1, 6738415616),
    ("llama2-13b", 4096, 1, 13015864320),
    ("llama2-70b", 4096, 1, 68976648192),
    ("llama3-8b", 8192, 1, 8030261248),
    ("llama3-70b", 8192, 1, 70553706496),
    ("openllama-3b", 2048, 1, 3426473600),
    ("bert-base", 512, 1, 109514298),
    ("bert-large", 512, 1, 335174458),
    ("gpt-30b", 2048, 4, 29977507840),
    ("gpt-30b", 2048, 1, 29974755328),
    ("gpt-30b-7176", 2048, 6, 30044031888),
]


@pytest.mark.parametrize(("name", "sequence_length", "tp", "parameters"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(name: str, sequence_length: int, tp: int, parameters: int) -> None:
    assert count(model.named(name), sequence_length, tp).total == parameters


def test_bert_with_pooler_is_hugging_faces_base_model() -> None:
    whole = model.build({"base": "bert-base", "pooler": True, "head": "lm"}, Document(None, ""), ())
    assert count(whole, 512).total == 109482240


@pytest.mark.parametrize(("tp", "rows"), [(1, 50304), (4, 50688), (6, 50688), (8, 51200)])
def test_the_vocabulary_is_padded_to_a_multiple_of_128_times_tp(tp: int, rows: int) -> None:
    assert model.named("gpt-30b").padded_vocab(tp) == rows


def test_a_base_with_changes_keeps_the_rest_and_says_so_in_its_name() -> None:
    small = model.build({"base": "llama2-7b", "layers": 2}, Document(None, ""), ())
    assert (small.layers, small.ffn, small.name) == (2, 11008, "llama2-7b-layers2")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"base": "lama2-7b"}, "there is no model 'lama2-7b'; did you mean 'llama2-7b'?"),
        ({"base": "gpt-124m", "heads": 7}, "hidden 768 is not divisible by heads 7"),
        ({"base": "gpt-124m", "kv_heads": 5}, "heads 12 is not divisible by kv_heads 5"),
        ({"family": "gtp"}, "did you mean 'gpt'?"),
        ({"base": "gpt-124m", "layrs": 3}, "'layrs' is no key of a model; did you mean 'layers'?"),
        ({"base": "gpt-124m", "layers": 0}, "layers is 0; it must be greater than 0"),
    ],
)
def test_wrong_models_are_refused_with_the_way_out(keys: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        model.build(keys, Document(None, ""), ())
