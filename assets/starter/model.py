"""The starter's size, its tokenizer, and the Muon optimizer for its matrices."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.weights import fast_bf16

HERE = Path(__file__).parent
VOCABULARY = 2048
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
PLAIN = [
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "[INST]",
    "[/INST]",
]
JSON = [
    '{"type": "function", "function": {"name": "',
    '", "description": "',
    '"parameters": {"type": "object", "properties": {',
    '{"type": "string"',
    '{"type": "integer"',
    '{"type": "number"',
    '{"type": "boolean"',
    '"required": [',
    '{"name": "',
    '", "arguments": {',
]
COMMON, CAPITALS = (
    600,
    150,
)  # words that keep their leading space in one token; every other word is spelled alike after space, quote or bracket

PACKED = "packed-documents"


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    documents: torch.Tensor,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within documents; queries (rows, heads, tokens, 32), `documents` (rows, tokens) their numbers.

    Blocks of queries see no key behind them, and the query heads that share a key head make one product. Compiled on
    two cores a step takes two thirds of what scaled_dot_product_attention's takes; a GPU gets the latter.
    """
    if query.is_cuda:
        places = torch.arange(query.shape[2], device=query.device)
        seen = (places[:, None] >= places) & (documents[:, :, None] == documents[:, None])
        key, value = (side.repeat_interleave(query.shape[1] // side.shape[1], 1) for side in (key, value))
        made = scaled_dot_product_attention(query, key, value, seen[:, None], scale=scaling)
        return made.transpose(1, 2).contiguous(), None
    rows, heads, length, width = query.shape
    groups = key.shape[1]
    shared, block = heads // groups, 128 if length <= 1024 else 256
    query = (query * scaling).view(rows, groups, shared, length, width)
    places = torch.arange(length)
    blocks = []
    for start in range(0, length, block):
        end = min(start + block, length)
        asked = query[:, :, :, start:end].reshape(rows, groups, -1, width)
        scores = (asked @ key[:, :, :end].mT).view(rows, groups, shared, end - start, end).float()
        seen = (places[start:end, None] >= places[:end]) & (documents[:, start:end, None] == documents[:, None, :end])
        weights = scores.masked_fill(~seen[:, None, None], float("-inf")).softmax(-1).to(value.dtype)
        blocks.append((weights.view(rows, groups, -1, end) @ value[:, :, :end]).view(*query.shape[:3], -1, width))
    return torch.cat(blocks, 3).reshape(rows, heads, length, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(PACKED, packed_attention)


def new_model(seed: int = 0) -> LlamaForCausalLM:
    """Return an untrained model of about five million parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=288,
        intermediate_size=768,
        num_hidden_layers=5,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=[0, 2],
        pad_token_id=3,
        initializer_range=0.03,
    )
    return LlamaForCausalLM(config)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train byte-level BPE with single digits, in which a name has the same pieces wherever it stands."""
    texts = list(texts)
    words = Counter(word for text in texts for word in text.split(" ")[1:] if word.isalpha())
    chosen = [word for at, (word, _) in enumerate(words.most_common(COMMON)) if word.islower() or at < CAPITALS]
    common = "|".join(sorted(chosen, key=lambda word: (-len(word), word)))
    pattern = rf" (?:{common})(?![\p{{L}}\p{{N}}])|\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+|\s*[\r\n]+|\s"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(PLAIN) - len(JSON),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(PLAIN + JSON)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[3],
        model_max_length=4096,
        additional_special_tokens=SPECIAL[1:3],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    wrapped.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8")
    return wrapped


def orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Return the nearest half-orthogonal matrices of a stack (n, rows, columns), by Newton-Schulz in what is fast.

    Coefficients: Jordan et al. 2024, "Muon: an optimizer for hidden layers".
    """
    x = matrices.bfloat16() if fast_bf16() else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).float()


def shared_out(matrices: torch.Tensor) -> torch.Tensor:
    """Return `orthogonal` of a stack; where several processes train, each computes its part and they add them up."""
    if not dist.is_initialized():
        return orthogonal(matrices)
    mine = slice(dist.get_rank(), None, dist.get_world_size())
    made = torch.zeros_like(matrices)
    made[mine] = orthogonal(matrices[mine])
    dist.all_reduce(made)
    return made


class Muon(torch.optim.Optimizer):
    """Momentum whose step on each matrix is made orthogonal; matrices of one shape are handled in one stack."""

    def __init__(
        self, matrices: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        shapes: dict[tuple, list] = {}
        for matrix in matrices:
            shapes.setdefault(tuple(matrix.shape), []).append(matrix)
        super().__init__(
            [{"params": same} for same in shapes.values()], {"lr": lr, "momentum": momentum, "decay": decay}
        )

    @torch.no_grad()
    def step(self) -> None:
        """Take one step from the gradients."""
        for group in self.param_groups:
            same = group["params"]
            gradients = torch.stack([p.grad for p in same])
            state = self.state[same[0]]
            kept = state.setdefault("kept", torch.zeros_like(gradients))
            kept.lerp_(gradients, 1 - group["momentum"])
            update = shared_out(gradients.lerp(kept, group["momentum"]))
            scale = max(1, same[0].shape[0] / same[0].shape[1]) ** 0.5
            torch._foreach_mul_(same, 1 - group["lr"] * group["decay"])
            torch._foreach_add_(same, list(update), alpha=-group["lr"] * scale)


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Return Muon for the layers' matrices and AdamW for embeddings and norms; each keeps its peak rate in `peak`."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    made = [
        Muon(matrices, lr=0.02),
        torch.optim.AdamW(others, lr=0.003, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made
