"""What speaks against using a model, each as a sentence: architecture, own code, kind of weights, quantization."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "WithLMHead", "GenerationDecoder")
# their state is not a cache of keys and values, which the shared decode loop needs
RECURRENT = frozenset(
    {
        "bailing_hybrid", "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2",
        "lfm2_moe", "lfm3", "mamba", "mamba2", "minimax", "nemotron_h", "olmo_hybrid", "qwen3_next",
        "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2",
    }
)  # fmt: skip
METHODS = {"gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "hqq": "HQQ", "fp8": "FP8"}


def own_code(config: Mapping[str, Any]) -> bool:
    """Whether a model names code of its own, which transformers would run if it were told to trust it."""
    return "auto_map" in config


def architecture_trouble(name: str, config: Mapping[str, Any]) -> str:
    """Why the architecture cannot be used; empty when it can."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = (
            "it brings code of its own, which Diptych never runs"
            if own_code(config)
            else f"'{kind}' is not an architecture of causal language models that this version of transformers knows"
        )
    elif kind in RECURRENT:
        reason = f"'{kind}' keeps a recurrent state, which the shared decode loop cannot hold"
    elif heads := other_heads(config):
        reason = f"it is a {heads}, which does not continue text"
    else:
        return ""
    return f"The model {name} cannot be used: {reason}. Choose a model with a built-in architecture."


def reranks(config: Mapping[str, Any]) -> bool:
    """Whether it is a cross-encoder that transformers knows: reads two texts, gives one number for how they fit."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    labels = config.get("id2label")
    single = len(labels) == 1 if isinstance(labels, dict) else config.get("num_labels") == 1
    known = str(config.get("model_type")) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    return single and known and not own_code(config) and other_heads(config).endswith("ForSequenceClassification")


def other_heads(config: Mapping[str, Any]) -> str:
    """The class of a model that was made for something else than continuing text; empty for the right ones."""
    named = config.get("architectures")
    classes = [each for each in named if isinstance(each, str)] if isinstance(named, list) else []
    return classes[0] if classes and not any(each.endswith(HEADS) for each in classes) else ""


def weights_trouble(name: str, files: Collection[str], place: str = "folder") -> str:
    """Why there are no weights to load; empty when there are safetensors."""
    if any(file.endswith(".safetensors") for file in files):
        return ""
    if any(file.endswith(PICKLES) for file in files):
        found = "only pickle files (.bin, .pt), which can run code when opened"
    elif any(file.endswith(".gguf") for file in files):
        found = "only GGUF files, which are made for llama.cpp and cannot be tuned here"
    else:
        found = "no weights at all"
    if place == "hub":
        return (
            f"{name} holds {found}. Diptych loads safetensors and nothing else. Look among its pull requests for one "
            "that adds them and give its revision, such as refs/pr/1, or choose another model."
        )
    return (
        f"The folder {name} holds {found}. Diptych loads safetensors; convert the model with "
        "save_pretrained(..., safe_serialization=True) or download its safetensors version."
    )


def quantization(config: Mapping[str, Any]) -> str:
    """How the weights were quantized before they were stored, such as GPTQ; empty for full precision."""
    stored = config.get("quantization_config")
    if not isinstance(stored, dict):
        return ""
    method = str(stored.get("quant_method") or "an unknown method")
    return METHODS.get(method, method)


def quantized_trouble(name: str, method: str, base: str) -> str:
    """Why stored quantized weights are not loaded, and what to take instead (`base` may be unknown)."""
    instead = f"Take its full-precision base {base}" if base else "Take the full-precision model it was made from"
    why = (
        "its weights were already rounded to a few bits when it was stored, for kernels that need a GPU and a package "
        "which Diptych does not bring"
        if method != "bitsandbytes"
        else "its weights were already rounded when it was stored, so that no other precision can be chosen"
    )
    return (
        f"{name} is a {method} model: {why}. {instead} and choose 4 bits (NF4) for it: about the same memory, and "
        "QLoRA trains on it."
    )


def adapter_on_quantized(name: str, quantized: str, method: str, base: str) -> str:
    """What to know about an adapter that was trained on stored quantized weights."""
    instead = f"Add {base} first" if base else "Add the full-precision model it was made from first"
    return (
        f"{name} was trained on {quantized}, a {method} model that is not loaded here. An adapter's matrices have the "
        f"same shapes on the full-precision base. {instead}, then attach {name} to it; its answers may differ a "
        "little, because the rounding it was trained over is gone."
    )
