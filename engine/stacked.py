"""Many LoRA adapters over one base in the same forward pass: all A matrices side by side, all B matrices too.

For a linear layer with input x, the products of all adapters in the batch are h = x [A1; A2; ...]^T, of which
each row keeps only its own adapter's columns (a 0/1 mask), and y = W x + h [B1, B2, ...]^T. Two ordinary matrix
products a layer, whatever the number of adapters and their ranks; the idea of S-LoRA (Sheng et al. 2023) and
Punica (Chen et al. 2023) in the form that suits a processor without gather kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.adapters import Adapter, sizes
from engine.fused import Share

# Layers known to read the same input; a layer in none of these is a family of its own.
SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
Outputs = tuple[tuple[str, ...], ...]  # products of one input, each of layers side by side, by their names


@dataclass(frozen=True)
class Stacked:
    """One layer's share of the adapters in a batch: A [ranks, in], B^T [ranks, out], the rank of each adapter.

    Layers that read the same input share `family`, all their A matrices in one; `place` is this layer's part of it.
    """

    a: torch.Tensor
    b: torch.Tensor
    ranks: tuple[int, ...]
    family: Family
    place: slice


@dataclass
class Family:
    """Layers of one block that read the same input, such as the query, key and value projections.

    The first of them computes h for all; `read` and `h` keep it for the others, until another input comes.
    """

    a: torch.Tensor
    ranks: tuple[int, ...]
    read: torch.Tensor | None = None
    h: torch.Tensor | None = None


def siblings(name: str) -> tuple[str, ...]:
    """The layer and those beside it that read the same input, in a fixed order."""
    parent, _, own = name.rpartition(".")
    for names in SIBLINGS:
        if own in names:
            return tuple(f"{parent}.{each}" for each in names)
    return (name,)


class AdapterBatch:
    """Hooks on a base's linear layers that add each row's own adapter. One thread, the decode loop, uses it.

    `use()` says before a forward pass which adapter each row has. With no adapter in the batch the hooks return
    at once; with one adapter for all rows there is no mask.
    """

    def __init__(self, model: nn.Module):
        self.modules = {name: module for name, module in model.named_modules() if sizes(module)}
        self.hooked: set[str] = set()
        self.beside: set[Adapter] = set()  # adapters to keep stacked for other passes that take turns with this one
        self.active: tuple[Adapter, ...] = ()
        self.layers: dict[str, Stacked] = {}
        self._unmasked: dict[Outputs, tuple[Share | None, tuple[int, ...]]] = {}
        self._shares: dict[Outputs, Share | None] = {}
        self.rows: tuple[int, ...] = ()
        self.masks: dict[tuple[int, ...], torch.Tensor | None] = {}

    def use(self, adapters: Sequence[Adapter | None]) -> None:
        """Row i of the next forward pass goes through `adapters[i]`; None is the base itself."""
        active = tuple(sorted({a for a in adapters if a} | self.beside, key=id))
        if active != self.active:
            self.active, self._unmasked = active, {}
            changed = {name for adapter in active for name in adapter.weights}
            families = {tuple(n for n in siblings(name) if n in changed) for name in changed}
            self.layers = {name: layer for names in families for name, layer in self._stack(names).items()}
            self.rows = ()
        places = {adapter: i for i, adapter in enumerate(active)}
        rows = tuple(places[a] if a else -1 for a in adapters)
        if rows != self.rows:
            self._seat(rows)

    def only(self, places: Sequence[int]) -> None:
        """From here to the next `use()` the rows are those at `places` of the ones before."""
        if self.active:
            self._seat(tuple(self.rows[place] for place in places))

    def shares(self, inputs: Sequence[Outputs]) -> list[Share | None]:
        """What the adapters add to the products of each input; None where nothing."""
        return [self._share(outputs) for outputs in inputs] if self.active else [None] * len(inputs)

    def _share(self, outputs: Outputs) -> Share | None:
        """That of one input, for the rows that are seated now."""
        if outputs not in self._shares:
            if outputs not in self._unmasked:
                self._unmasked[outputs] = self._of_layers(outputs)
            share, ranks = self._unmasked[outputs]
            mask = self._mask(ranks, share.a) if share else None
            self._shares[outputs] = share if share is None or mask is None else share._replace(mask=mask[:, 0])
        return self._shares[outputs]

    def _of_layers(self, outputs: Outputs) -> tuple[Share | None, tuple[int, ...]]:
        """What any row's adapters add to the products of an input, and the ranks that its mask is made from."""
        b: list[torch.Tensor] = []
        places: list[int] = []
        starts: list[int] = []
        family = None
        for place, names in enumerate(outputs):
            start = 0
            for name in names:
                if stacked := self.layers.get(name):
                    family = stacked.family
                    b.append(stacked.b)
                    places.append(place)
                    starts.append(start)
                start += sizes(self.modules[name])[1]  # type: ignore[index]
        return (Share(family.a, None, b, places, starts), family.ranks) if family else (None, ())

    def _seat(self, rows: tuple[int, ...]) -> None:
        """Take note of which row has which active adapter."""
        self.rows, self.masks, self._shares = rows, {}, {}
        for stacked in self.layers.values():
            stacked.family.read = stacked.family.h = None

    def _stack(self, names: Sequence[str]) -> dict[str, Stacked]:
        """All active adapters' matrices for the layers of a family; adapters that leave one alone take no columns."""
        pairs = {name: [adapter.weights.get(name) for adapter in self.active] for name in names}
        ranks = {name: tuple(len(pair[0]) if pair else 0 for pair in pairs[name]) for name in names}
        whole = torch.cat([pair[0] for name in names for pair in pairs[name] if pair])
        family = Family(whole, tuple(rank for name in names for rank in ranks[name]))
        layers: dict[str, Stacked] = {}
        start = 0
        for name in names:
            if name not in self.hooked:
                self.hooked.add(name)
                self.modules[name].register_forward_hook(self._hook(name))
            place = slice(start, start + sum(ranks[name]))
            start = place.stop
            b = torch.cat([pair[1].T for pair in pairs[name] if pair]).contiguous()
            layers[name] = Stacked(whole[place], b, ranks[name], family, place)
        return layers

    def _mask(self, ranks: tuple[int, ...], like: torch.Tensor) -> torch.Tensor | None:
        """[rows, 1, sum of ranks], 1 where a row's own adapter stands; None when every row has the only one.

        `ranks` are those of all active adapters, once for each layer of the family.
        """
        if ranks not in self.masks:
            if len(self.active) == 1 and all(row == 0 for row in self.rows):
                self.masks[ranks] = None
            else:
                owners = torch.arange(len(ranks)) % len(self.active)
                owner = torch.repeat_interleave(owners, torch.tensor(ranks))
                mask = torch.tensor(self.rows)[:, None] == owner[None]
                self.masks[ranks] = mask[:, None].to(like.device, like.dtype)
        return self.masks[ranks]

    def _products(self, stacked: Stacked, inputs: torch.Tensor) -> torch.Tensor:
        """h of one layer, [tokens, its ranks]: computed with its family's, or taken from there."""
        family = stacked.family
        if family.read is not inputs:
            h = nn.functional.linear(inputs.to(family.a.dtype), family.a)
            mask = self._mask(family.ranks, h)
            if mask is not None:
                h = h * (mask if h.dim() == 3 else mask[:, 0])
            family.read, family.h = inputs, h.flatten(0, -2)
        return family.h[:, stacked.place]  # type: ignore[index]

    def _hook(self, name: str) -> Any:
        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            stacked = self.layers.get(name)
            if stacked is None:
                return output
            h = self._products(stacked, inputs[0])
            if output.dtype == stacked.b.dtype and torch.is_inference(output):
                output.view(-1, output.shape[-1]).addmm_(h, stacked.b)
                return output
            return output + torch.mm(h, stacked.b).view(output.shape).to(output.dtype)

        return add
