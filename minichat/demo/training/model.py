"""A plain PyTorch Mistral, just large enough to train the demo model.

The forward pass equals transformers' `MistralForCausalLM` (rotary embedding in Hugging Face's layout of halves, grouped
queries, SwiGLU, RMSNorm): `export.py` checks it. The embedding and the head share one matrix while training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The model's sizes. Every width is a multiple of 256, which K-quants ask for."""

    vocab: int = 4096
    dim: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    hidden: int = 768
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def to_json(self) -> dict[str, float]:
        return asdict(self)


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding, halves layout. x: (batch, time, heads, head_dim); cos, sin: (batch, time, 1, head_dim / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention with grouped queries, written out: on a CPU its backward pass is far faster than the fused one's.

    q: (batch, time, heads, head_dim); k, v: (batch, width, kv_heads, head_dim); mask: (batch or 1, time, width), added
    to the scores. -> (batch, time, heads * head_dim)
    """
    batch, time, heads, size = q.shape
    width, n = k.shape[1], k.shape[2]
    q = q.view(batch, time, n, heads // n, size).permute(0, 2, 3, 1, 4).reshape(batch * n, -1, size) * size**-0.5
    k = k.permute(0, 2, 3, 1).reshape(batch * n, size, width)
    v = v.transpose(1, 2).reshape(batch * n, width, size)
    scores = torch.bmm(q, k).view(batch, n, heads // n, time, width) + mask[:, None, None]
    seen = torch.softmax(scores.float(), -1).to(q.dtype).view(batch * n, -1, width)
    return torch.bmm(seen, v).view(batch, n, heads // n, time, size).permute(0, 3, 1, 2, 4).reshape(batch, time, -1)


class Cache:
    """One layer's keys and values, each at its place. k, v: (batch, width, kv_heads, head_dim)."""

    def __init__(self, batch: int, width: int, s: Shape) -> None:
        self.k = torch.zeros(batch, width, s.kv_heads, s.head_dim)
        self.v = torch.zeros_like(self.k)

    def put(self, k: Tensor, v: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(places))[:, None].expand_as(places)
        self.k[rows, places], self.v[rows, places] = k, v
        return self.k, self.v


class Block(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.attention_norm = RMSNorm(s.dim, s.norm_eps)
        self.ffn_norm = RMSNorm(s.dim, s.norm_eps)
        self.q = nn.Parameter(torch.empty(s.heads * s.head_dim, s.dim))
        self.k = nn.Parameter(torch.empty(s.kv_heads * s.head_dim, s.dim))
        self.v = nn.Parameter(torch.empty(s.kv_heads * s.head_dim, s.dim))
        self.o = nn.Parameter(torch.empty(s.dim, s.heads * s.head_dim))
        self.gate = nn.Parameter(torch.empty(s.hidden, s.dim))
        self.up = nn.Parameter(torch.empty(s.hidden, s.dim))
        self.down = nn.Parameter(torch.empty(s.dim, s.hidden))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor,
                cached: tuple[Cache, Tensor] | None = None) -> Tensor:  # fmt: skip
        s, (batch, time, _) = self.s, x.shape
        h = self.attention_norm(x)
        qkv = F.linear(h, torch.cat((self.q, self.k, self.v)).to(x.dtype))
        q, k, v = qkv.view(batch, time, -1, s.head_dim).split((s.heads, s.kv_heads, s.kv_heads), dim=2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cached:
            k, v = cached[0].put(k, v, cached[1])
        a = attend(q, k, v, mask)
        x = x + F.linear(a, self.o.to(x.dtype))
        h = self.ffn_norm(x)
        gate, up = F.linear(h, torch.cat((self.gate, self.up)).to(x.dtype)).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down.to(x.dtype))


class Demo(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.embedding = nn.Parameter(torch.empty(s.vocab, s.dim))
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = RMSNorm(s.dim, s.norm_eps)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                out = name.endswith((".o", ".down"))
                std = 0.02 if name == "embedding" else p.shape[1] ** -0.5 * (0.3 if out else 0.8)
                nn.init.normal_(p, std=std)

    def rotary(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """positions: (batch, time) -> cos, sin: (batch, time, 1, head_dim / 2)."""
        half = torch.arange(0, self.s.head_dim, 2, dtype=torch.float32) / self.s.head_dim
        angle = positions[..., None].float() * self.s.rope_theta**-half
        return angle.cos().to(dtype)[:, :, None], angle.sin().to(dtype)[:, :, None]

    def hidden(self, ids: Tensor, positions: Tensor, dtype: torch.dtype, documents: Tensor | None = None) -> Tensor:
        """ids, positions: (batch, time) -> normed last hidden states (batch, time, dim).

        documents: (batch, time), each token's document in its row: a token sees only its own. None: one a row.
        """
        time = ids.shape[1]
        seen = torch.ones(1, time, time, dtype=torch.bool).tril()
        if documents is not None:
            seen = seen & (documents[:, :, None] == documents[:, None, :])
        mask = (seen.to(dtype) - 1) * 1e4  # 0 where seen, about -inf where not
        x = F.embedding(ids, self.embedding).to(dtype)
        cos, sin = self.rotary(positions, dtype)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return self.norm(x)

    def forward(self, ids: Tensor, positions: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """-> logits (batch, time, vocab)."""
        return F.linear(self.hidden(ids, positions, dtype), self.embedding.to(dtype))

    def loss(
        self, ids: Tensor, positions: Tensor, documents: Tensor | None, index: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        """Cross entropy, weighted and summed, at the flat positions `index` only. index, targets, weights: (n,)."""
        h = self.hidden(ids, positions, torch.bfloat16, documents).flatten(0, 1)[index]
        logits = F.linear(h, self.embedding.to(torch.bfloat16))
        return (F.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()

    @torch.inference_mode()
    def greedy(self, prompts: list[list[int]], end: int, longest: int) -> list[list[int]]:
        """Greedy answers, without `end`; one that did not end within `longest` tokens is returned empty.

        Prompts of unlike lengths stand in one batch, padded on the right: each row's next place is its own.
        """
        batch = len(prompts)
        lengths = torch.tensor([len(p) for p in prompts])
        width = int(lengths.max()) + longest
        ids = torch.zeros(batch, int(lengths.max()), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[i, : len(prompt)] = torch.tensor(prompt)
        places = torch.arange(ids.shape[1]).expand(batch, -1)
        caches = [Cache(batch, width, self.s) for _ in self.blocks]
        hidden = self.step(ids, places, caches)[torch.arange(batch), lengths - 1]
        answers = torch.full((batch, longest), end)
        open_rows = torch.ones(batch, dtype=torch.bool)
        for n in range(longest):
            best = F.linear(hidden, self.embedding).argmax(-1)  # (batch,)
            answers[:, n] = torch.where(open_rows, best, end)
            open_rows &= best != end
            if not open_rows.any():
                break
            hidden = self.step(best[:, None], (lengths + n)[:, None], caches)[:, 0]
        return [
            [] if is_open else row[: row.index(end) if end in row else len(row)]
            for row, is_open in zip(answers.tolist(), open_rows.tolist(), strict=True)
        ]

    def step(self, ids: Tensor, places: Tensor, caches: list[Cache]) -> Tensor:
        """Hidden states of new tokens at `places`, which are also put into the caches. ids, places: (batch, time)."""
        x = F.embedding(ids, self.embedding)
        cos, sin = self.rotary(places, x.dtype)
        seen = torch.arange(caches[0].k.shape[1])[None, None] <= places[:, :, None]  # (batch, time, width)
        mask = torch.where(seen, 0.0, -1e4)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cos, sin, mask, (cache, places))
        return self.norm(x)
