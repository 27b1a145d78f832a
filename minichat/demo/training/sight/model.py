"""A plain PyTorch Mistral 3 that sees: the demo's transformer, a Pixtral tower and the projector between them.

The forward pass equals transformers' `Mistral3ForConditionalGeneration` (`export.py` checks it). All pictures of a
batch have the same size. While training, heads that are thrown away later say of every token of a picture what stands
there: they teach the tower to see before the text can ask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from ..model import Block, Demo, RMSNorm, Shape

PATCH, MERGE, LONGEST = 14, 2, 112
UNIT = PATCH * MERGE
"""Pixels on the side of what one token shows."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
IMG, IMG_BREAK, IMG_END = 10, 12, 13

TEXT = Shape(vocab=2048, dim=128, layers=4, heads=4, kv_heads=2, head_dim=32, hidden=320)
TOWER = Shape(vocab=0, dim=128, layers=4, heads=4, kv_heads=4, head_dim=32, hidden=320)


@dataclass(frozen=True)
class Cells:
    """What stands in each token's part of the picture: kind, colour (0: nothing), how many centres. (batch, cells)"""

    kind: Tensor
    colour: Tensor
    centres: Tensor


class Tower(nn.Module):
    """Pixels -> one vector of the text model's width for every square of UNIT pixels."""

    def __init__(self, s: Shape, text_dim: int) -> None:
        super().__init__()
        self.s = s
        self.patch = nn.Parameter(torch.empty(s.dim, 3 * PATCH * PATCH))
        self.ln_pre = RMSNorm(s.dim, s.norm_eps)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = RMSNorm(s.dim, s.norm_eps)
        self.merger = nn.Parameter(torch.empty(s.dim, s.dim * MERGE * MERGE))
        self.linear_1 = nn.Parameter(torch.empty(text_dim, s.dim))
        self.linear_2 = nn.Parameter(torch.empty(text_dim, text_dim))
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.3 if name.endswith((".o", ".down")) else 0.8))

    def rotary(self, rows: int, columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos, sin: (1, rows * columns, 1, head_dim / 2): one half turns with the row, the other with the column."""
        size = self.s.head_dim
        turns = self.s.rope_theta ** -(torch.arange(0, size, 2).float() / size)
        y = torch.arange(rows).float()[:, None, None] * turns[0::2]
        x = torch.arange(columns).float()[None, :, None] * turns[1::2]
        angle = torch.cat((y.expand(-1, columns, -1), x.expand(rows, -1, -1)), -1).reshape(1, rows * columns, 1, -1)
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def forward(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """pixels: (batch, 3, height, width), normalised -> (batch, cells, text_dim), row by row."""
        batch, _, height, width = pixels.shape
        rows, columns = height // PATCH, width // PATCH
        x = pixels.to(dtype).reshape(batch, 3, rows, PATCH, columns, PATCH).permute(0, 2, 4, 1, 3, 5)
        x = self.ln_pre(F.linear(x.reshape(batch, rows * columns, -1), self.patch.to(dtype)))
        cos, sin = self.rotary(rows, columns, dtype)
        mask = torch.zeros(1, rows * columns, rows * columns, dtype=dtype)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        x = self.norm(x).view(batch, rows // MERGE, MERGE, columns // MERGE, MERGE, -1)
        # As transformers unfolds them: the width first, then the place within the square.
        x = x.permute(0, 1, 3, 5, 2, 4).reshape(batch, (rows // MERGE) * (columns // MERGE), -1)
        x = F.gelu(F.linear(F.linear(x, self.merger.to(dtype)), self.linear_1.to(dtype)))
        return F.linear(x, self.linear_2.to(dtype))


class Sight(nn.Module):
    """A text model that reads what a tower makes of a picture, one vector for each cell of it."""

    def __init__(self, text: Shape = TEXT, tower: Shape = TOWER) -> None:
        super().__init__()
        self.text = Demo(text)
        self.tower = Tower(tower, text.dim)

    def hidden(self, ids: Tensor, pixels: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """ids: (batch, time), [IMG] where a picture's vectors go -> normed hidden states, and those vectors."""
        x = F.embedding(ids, self.text.embedding).to(dtype)
        cells = None
        if pixels is not None:
            cells = self.tower(pixels, dtype)
            x = x.masked_scatter((ids == IMG)[..., None], cells)
        return self.read(x), cells

    def read(self, x: Tensor) -> Tensor:
        """The text model's blocks. x: (batch, time, dim) -> normed hidden states."""
        time = x.shape[1]
        mask = (torch.ones(1, time, time, dtype=x.dtype).tril() - 1) * 1e4
        cos, sin = self.text.rotary(torch.arange(time)[None], x.dtype)
        for block in self.text.blocks:
            x = block(x, cos, sin, mask)
        return self.text.norm(x)

    def forward(self, ids: Tensor, pixels: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor:
        """-> logits (batch, time, vocab)."""
        return F.linear(self.hidden(ids, pixels, dtype)[0], self.text.embedding.to(dtype))

    @torch.inference_mode()
    def greedy(self, ids: Tensor, pixels: Tensor | None, end: int, longest: int = 40) -> list[list[int]]:
        """Answers, without `end`, to prompts of one length; empty where one did not end."""
        n = ids.shape[1]
        for _ in range(longest):
            best = self(ids, pixels)[:, -1].argmax(-1)
            ids = torch.cat((ids, best[:, None]), 1)
            if (ids[:, n:] == end).any(1).all():
                break
        return [row[: row.index(end)] if end in row else [] for row in ids[:, n:].tolist()]


class CellHeads(nn.Module):
    """The heads that only training needs."""

    def __init__(self, dim: int, kinds: int, colours: int, most: int = 3) -> None:
        super().__init__()
        self.kind, self.colour = nn.Linear(dim, kinds + 1), nn.Linear(dim, colours + 1)
        self.centres = nn.Linear(dim, most + 1)

    def loss(self, vectors: Tensor, cells: Cells) -> Tensor:
        """vectors: (batch, cells, dim), as the tower makes them."""
        flat = vectors.float().flatten(0, 1)
        pairs = ((self.kind, cells.kind), (self.colour, cells.colour), (self.centres, cells.centres))
        return sum(F.cross_entropy(head(flat), target.flatten()) for head, target in pairs)
