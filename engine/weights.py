"""Load a base model's weights and tokenizer, after looking at it: safetensors only, no remote code, ever."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.adapters import read_config
from engine.catalog import Model
from engine.errors import Problem
from engine.hub import set_patience
from engine.loading import ONE_AT_A_TIME
from engine.models import checks
from engine.models.footprint import TOY_PARAMETERS
from engine.models.sources import Folder, weight_files
from engine.settings import ROOT, settings

if TYPE_CHECKING:
    from engine.models.report import Report

log = logging.getLogger(__name__)
QUANTIZED = frozenset({"int8", "nf4"})


def adapter_base(folder: Path) -> str:
    """The base that an adapter folder names: a folder (of the repository, or beside the adapter) or a Hub id."""
    named = read_config(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise Problem(
            f"The adapter {folder.name} does not say which base it belongs to: adapter_config.json lacks "
            "base_model_name_or_path."
        )
    for place in (ROOT / named, folder / named):
        if (place / "config.json").is_file():
            return str(place.resolve())
    return named


def look_at(folder: Path) -> None:
    """Raise Problem unless the folder holds a model that can be loaded without running anybody's code."""
    name = folder.name
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{name} is no model folder: its config.json cannot be read ({error}).") from error
    config = config if isinstance(config, dict) else {}
    if method := checks.quantization(config):
        raise Problem(checks.quantized_trouble(name, method, ""))
    files = [path.name for path in folder.iterdir()]
    if wrong := checks.architecture_trouble(name, config) or checks.weights_trouble(name, files):
        raise Problem(wrong)


def fetch(model: Model) -> Path:
    """The folder with a base's files: its own, or the Hub's cache, to which they are brought. Raises Problem in words.

    Takes as long as the network does, and holds nobody up. Where the Hub cannot be asked, a copy in its cache will do.
    """
    from huggingface_hub import snapshot_download

    from engine.models.look import look

    folder = Path(model.base)
    if folder.is_dir():
        look_at(folder)
        return folder
    try:
        found = look(model.base, model.revision)
    except Problem as trouble:
        if copy := cached(model):
            return copy
        raise explained(model, trouble) from trouble
    wanted = usable_files(model, found)
    set_patience()
    try:
        return Path(snapshot_download(model.base, allow_patterns=wanted, **hub_options(model)))
    except Exception as error:
        raise explained(model, error) from error


def usable_files(model: Model, found: Report) -> list[str]:
    """The files of a Hub id to fetch. Raises Problem when the look at it speaks against it."""
    if found.kind == "adapter":
        raise Problem(f"{model.base} is an adapter. Add it on the Models tab, where it is attached to its base.")
    if not found.usable:
        raise Problem(" ".join(finding.text for finding in found.findings if finding.kind == "bad"))
    return [file.name for file in found.files]


def cached(model: Model) -> Path | None:
    """The copy of a Hub id in the Hub's own cache; None where there is none, or only a part of one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    options = {"local_files_only": True} | hub_options(model)
    try:
        folder = Path(snapshot_download(model.base, allow_patterns=["config.json"], **options))
        return folder if weight_files(Folder(folder)) else None
    except (HFValidationError, LocalEntryNotFoundError, Problem):
        return None


def hub_options(model: Model) -> dict[str, Any]:
    """Which revision the Hub is asked for, and with the settings' token alone."""
    return {"revision": model.revision, "token": settings().hub_token or False}


def load(model: Model, compute: Any = None) -> tuple[Any, Any]:
    """(transformers model in eval mode, tokenizer) of `model.base`: fetched, then built. Raises Problem in words."""
    fetch(model)
    return build(model, compute)


def build(model: Model, compute: Any = None, decoded: bool = False) -> tuple[Any, Any]:
    """(transformers model in eval mode, tokenizer) of a base whose files were fetched. Raises Problem in words.

    The network is not used. One model is built at a time, while others may be fetched. `compute` is the torch dtype
    that 4-bit layers compute in; None takes what is fast here. `decoded` says that a decode loop will compute with the
    network: where that can leave weights in the 16 bits of their file (engine.layouts), they are left so.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    options: dict[str, Any] = {"trust_remote_code": False}
    if not Path(model.base).is_dir():
        options |= {"local_files_only": True} | hub_options(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.base, **options)
        with ONE_AT_A_TIME:
            network: Any = AutoModelForCausalLM.from_pretrained(
                model.base, use_safetensors=True, **precision_options(model.precision, compute), **options
            )
    except Exception as error:
        raise explained(model, error) from error
    if any(weight.is_meta for weight in network.parameters()):
        raise Problem(f"{model.name} was loaded without some of its weights. Start Diptych again and load it anew.")
    network.eval().requires_grad_(False)
    if model.precision == "auto" and not (decoded and kept_in_halves(network)):
        network = network.to(best_dtype(network))
    if torch.cuda.is_available() and model.precision not in QUANTIZED:  # bitsandbytes places its own
        network = network.to("cuda")
    keep_plain_four_bit(network)
    if model.precision in QUANTIZED:
        let_go_of_file(network)
    return network, tokenizer


def build_to_decode(model: Model) -> tuple[Any, Any]:
    """`build` for a decode loop."""
    return build(model, decoded=True)


def precision_options(precision: str, compute: Any = None) -> dict[str, Any]:
    """from_pretrained's options for a precision. NF4 is QLoRA's data type, with double quantization."""
    import torch
    from transformers import BitsAndBytesConfig

    compute = compute or (torch.bfloat16 if fast_bf16() else torch.float32)
    match precision:
        case "auto":
            return {"dtype": "auto"}
        case "fp32":
            return {"dtype": torch.float32}
        case "bf16":
            return {"dtype": torch.bfloat16}
        case "int8":
            return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
        case "nf4":
            four_bit = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=compute,
            )
            return {"quantization_config": four_bit, "dtype": compute}
    raise Problem(f"There is no precision '{precision}'. Choose auto, fp32, bf16, int8 or nf4.")


def fast_bf16() -> bool:
    """Whether what models run on here, the GPU or else the processor, computes bf16 natively.

    A processor that does not is a hundred times slower. GPUs before compute capability 8, such as the T4, only
    emulate it: there, as on such a processor, it is fp32 instead. fp16 would be faster on them, but all that reckons
    memory, trains or decodes here knows 16 bits as bf16 only, and many models overflow in fp16.
    """
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def best_dtype(network: Any) -> Any:
    """What precision "auto" means for this network on this machine."""
    import torch

    toy = sum(p.numel() for p in network.parameters()) < TOY_PARAMETERS
    return torch.float32 if toy or not fast_bf16() else torch.bfloat16


def halves_here() -> bool:
    """Whether decode loops on this machine compute in float32 with weights that stay in 16 bits."""
    import torch

    from engine.layouts import halved

    return not torch.cuda.is_available() and halved(torch.bfloat16, torch.device("cpu"))


def kept_in_halves(network: Any) -> bool:
    """Whether a decode loop will do so with this network."""
    from engine.lean import in_halves, suits

    return halves_here() and suits(network) and in_halves(network)


def keep_plain_four_bit(network: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit layers in place.

    On processors with AVX512-bf16 its packed path fails where rows are not divisible by 32, and it changes
    weights that others may be reading.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def let_go_of_file(network: Any) -> None:
    """Copy what was not quantized: as views into the mapped file, embeddings would keep all of it in memory."""
    for parameter in network.parameters():
        if parameter.is_floating_point() and parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def explained(model: Model, error: Exception) -> Problem:
    """The sentence for a model that would not load. What transformers said goes to the log in full."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    log.warning("loading %s failed", model.base, exc_info=error)
    causes = [error, error.__cause__, error.__context__]
    text = str(error)
    if any(isinstance(cause, GatedRepoError) for cause in causes) or "gated repo" in text:
        return Problem(
            f"{model.base} is gated: accept its terms on huggingface.co/{model.base}, then set HF_TOKEN to a token "
            "that may read it and start again."
        )
    if "no file named" in text or "use_safetensors" in text or ("safetensors" in text and "does not appear" in text):
        return Problem(f"{model.base} has no safetensors weights, and Diptych loads no other kind. Choose another.")
    if Path(model.base).is_dir():
        return Problem(f"The model in {Path(model.base).name} could not be loaded: {first_line(text)}")
    offline = any(isinstance(c, LocalEntryNotFoundError | ConnectionError) for c in causes)
    if offline or "connect" in text.lower() or "offline" in text.lower():
        return Problem(
            f"{model.base} is not on this machine, and huggingface.co cannot be reached. The starter models work "
            "without a network; for this one, connect and try again."
        )
    if any(isinstance(cause, HfHubHTTPError) for cause in causes) or "not a valid model identifier" in text:
        return Problem(f"There is no model '{model.base}' on huggingface.co that can be read without a fitting token.")
    return Problem(f"{model.base} could not be loaded: {first_line(text)}")


def first_line(text: str) -> str:
    """The first line of an error's text, at most 200 characters."""
    return (text.strip().splitlines() or ["no reason was given"])[0][:200]
