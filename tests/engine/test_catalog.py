"""The catalogue that ships: its numbers counted again, its pairs, its hosted models and their prices."""

from __future__ import annotations

import pytest

from engine.catalog import Card, cards, shipped, stand_ins
from engine.models.footprint import linear_layers, parameters, sizes
from engine.models.headers import Tensor

LLAMA = {"model_type": "llama", "tie_word_embeddings": True}
PYTHIA = {"model_type": "gpt_neox", "vocab_size": 50304}
QWEN = {"model_type": "qwen2", "vocab_size": 151936, "tie_word_embeddings": True, "num_key_value_heads": 2}
# the published config.json of each base, as far as it decides the number of weights
CONFIGS: dict[str, dict] = {
    "EleutherAI/pythia-70m": PYTHIA
    | {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "intermediate_size": 2048},
    "openai-community/gpt2": {"model_type": "gpt2"},
    "HuggingFaceTB/SmolLM2-135M": LLAMA
    | {"vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9}
    | {"num_key_value_heads": 3, "intermediate_size": 1536},
    "HuggingFaceTB/SmolLM2-360M": LLAMA
    | {"vocab_size": 49152, "hidden_size": 960, "num_hidden_layers": 32, "num_attention_heads": 15}
    | {"num_key_value_heads": 5, "intermediate_size": 2560},
    "EleutherAI/pythia-410m": PYTHIA
    | {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "Qwen/Qwen2.5-0.5B": QWEN
    | {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "intermediate_size": 4864},
    "meta-llama/Llama-3.2-1B": LLAMA
    | {"vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32}
    | {"num_key_value_heads": 8, "intermediate_size": 8192},
    "Qwen/Qwen2.5-1.5B": QWEN
    | {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "intermediate_size": 8960},
    "mistralai/Mistral-7B-Instruct-v0.2": {"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096}
    | {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336},
}


def open_cards() -> list[Card]:
    return [card for card in cards() if card.parameters]


@pytest.mark.parametrize("source", list(CONFIGS))
def test_published_sizes_are_those_of_the_architecture(source: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = dict(CONFIGS[source])
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(CONFIG_MAPPING[config.pop("model_type")](**config))
    header = {name: Tensor("BF16", tuple(weight.shape)) for name, weight in network.named_parameters()}
    card = next(card for card in cards() if card.source == source)
    assert (card.parameters, card.linear) == (
        parameters(header),
        sum(each.count for each in linear_layers(header).values()),
    )


def test_the_catalogue_covers_the_sizes_and_pairs_that_it_promises() -> None:
    found = {card.source: card for card in open_cards()}
    assert set(CONFIGS) <= set(found)
    for card in found.values():
        base = found.get(card.tuned_from or card.source)
        assert base is not None, f"the base of {card.source} is not in the catalogue"
        assert (base.parameters, base.linear) == (card.parameters, card.linear)
        assert card.licence and card.context >= 1024 and card.about
    assert sum(1 for card in found.values() if card.tuned_from) >= 6
    assert [card.parameters for card in open_cards()] == sorted(card.parameters for card in open_cards())


def test_memory_falls_with_the_bits_and_nf4_is_about_half_a_byte_a_weight() -> None:
    for card in open_cards():
        found = sizes(card.parameters, card.linear, 2)
        assert found["fp32"] == 2 * found["bf16"] > found["int8"] > found["nf4"]
    mistral = next(card for card in cards() if card.source.startswith("mistralai"))
    assert 0.5 < sizes(mistral.parameters, mistral.linear, 2)["nf4"] / mistral.parameters < 0.6


def test_hosted_cards_tell_the_prices_that_lanes_are_reckoned_with() -> None:
    hosted = [card for card in cards() if not card.parameters]
    assert len(hosted) >= 2
    for card in hosted:
        model = shipped()[card.source]
        assert (model.input_price, model.output_price) == (card.input_price, card.output_price)
        assert model.endpoint and 0 < (model.input_price or 0) < (model.output_price or 0)


def test_the_gptq_base_of_the_course_has_its_full_precision_base() -> None:
    assert stand_ins()["thebloke/mistral-7b-instruct-v0.2-gptq"] == "mistralai/Mistral-7B-Instruct-v0.2"
    assert "mistralai/Mistral-7B-Instruct-v0.2" in {card.source for card in cards()}
