"""The operators of the bfloat16 peer: float32 master weights and AdamW moments, bfloat16 matmuls.

Think of three layers. Matmuls are PyTorch's (oneDNN, on AMX where there is one), in the layouts that
oneDNN packs fastest. The operations between them are fused by torch.compile into one pass each. And
there is no autocast: all parameters live in flat buffers, so a step updates master, moments and the
bfloat16 copy of every weight in one sweep. README.md gives the reason of each choice.

The residual stream and all reductions are float32. Shape suffixes are as in pytorch_operators.py.
"""

import itertools
from typing import NamedTuple

import torch
from torch.autograd import Function

from pytorch_compile import fused
from pytorch_operators import NORM_EPSILON

BF16 = torch.bfloat16
HEAD_BLOCK = 1024


class Weight(NamedTuple):
    """A parameter: float32 master, its bfloat16 copy, and its bfloat16 gradient."""

    master: torch.Tensor
    half: torch.Tensor
    grad: torch.Tensor


class Flat:
    """All parameters one after another, those with weight decay first."""

    def __init__(self, sizes, decays):
        order = sorted(sizes, key=lambda name: not decays(name))
        counts = {name: torch.Size(sizes[name]).numel() for name in order}
        self.decayed, total = sum(counts[name] for name in order if decays(name)), sum(counts.values())
        self.master, self.first, self.second = (torch.zeros(total) for _ in range(3))
        self.half, self.grad = (torch.zeros(total, dtype=BF16) for _ in range(2))
        self.weights, start = {}, 0
        for name in order:
            views = [t.narrow(0, start, counts[name]).view(sizes[name]) for t in (self.master, self.half, self.grad)]
            self.weights[name] = Weight(*views)
            start += counts[name]


class FlatAdamW:
    """AdamW with global-norm clipping over `Flat`: one pass for the norm and one for the update."""

    def __init__(self, flat, lr=1e-3, betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.1):
        self.flat, self.lr, self.betas, self.epsilon, self.decay = flat, lr, betas, epsilon, weight_decay
        self.steps = 0

    def step(self):
        flat, (b1, b2) = self.flat, self.betas
        self.steps += 1
        norm = square_sum(flat.grad).sqrt()
        scale = 1 / norm.clamp(min=1.0)
        for part, decay in ((slice(0, flat.decayed), self.decay), (slice(flat.decayed, None), 0.0)):
            numbers = torch.tensor([b1, b2, self.lr / (1 - b1**self.steps), (1 - b2**self.steps) ** -0.5,
                                    self.epsilon, 1 - self.lr * decay])
            adamw(flat.master[part], flat.half[part], flat.grad[part], flat.first[part], flat.second[part], scale,
                  numbers)


@fused
def square_sum(g):
    return g.float().square().sum()


@fused
def adamw(master, half, grad, first, second, scale, numbers):
    b1, b2, rate, correction, epsilon, keep = numbers.unbind()
    g = grad.float() * scale
    m = first * b1 + g * (1 - b1)
    v = second * b2 + g * g * (1 - b2)
    new = master * keep - rate * m / (v.sqrt() * correction + epsilon)
    first.copy_(m)
    second.copy_(v)
    master.copy_(new)
    half.copy_(new)


@fused
def add_norm(x, y, weight):
    x = x + y
    inverse = torch.rsqrt(x.square().mean(1, keepdim=True) + NORM_EPSILON)
    return x, (x * inverse * weight).to(BF16), inverse


@fused
def add_norm_back(g_x, g_h, x, inverse, weight):
    unit, g = x * inverse, g_h.float()
    scaled = g * weight
    total = g_x + (scaled - unit * (scaled * unit).mean(1, keepdim=True)) * inverse
    return total, total.to(BF16)


@fused
def norm_weight_grad(g_h, x, inverse):
    return (g_h.float() * (x * inverse)).sum(0)


class AddNorm(Function):
    """The residual stream plus a branch, and its RMS norm: (x_TD + y_TD, norm)."""

    @staticmethod
    def forward(ctx, x, y, weight):
        x, h, inverse = add_norm(x, y, weight.master)
        ctx.x, ctx.inverse, ctx.weight = x.detach(), inverse, weight  # x itself would be a reference cycle
        return x, h

    @staticmethod
    def backward(ctx, g_x, g_h):
        x, inverse, weight = ctx.x, ctx.inverse, ctx.weight
        weight.grad.copy_(norm_weight_grad(g_h, x, inverse))
        g_x, g_y = add_norm_back(g_x, g_h, x, inverse, weight.master)
        return g_x, g_y, None


class Linear(Function):
    """x_TI @ weight_IO."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.x, ctx.weight = x, weight
        return torch.mm(x, weight.half)

    @staticmethod
    def backward(ctx, g):
        torch.mm(ctx.x.t(), g, out=ctx.weight.grad)
        return torch.mm(g, ctx.weight.half.t()), None


class Embedding(Function):
    """Rows of the embedding times a number, as a residual stream. `anchor` is any tensor that requires a gradient. The
    gradient is added, in float32, to the head's gradient in `sums`, since the head is tied."""

    @staticmethod
    def forward(ctx, anchor, weight, tokens, sums, scale):
        ctx.weight, ctx.tokens, ctx.sums, ctx.scale = weight, tokens, sums, scale
        return weight.master.index_select(0, tokens).mul_(scale)

    @staticmethod
    def backward(ctx, g):
        ctx.weight.grad.copy_(ctx.sums.index_add_(0, ctx.tokens, g, alpha=ctx.scale))
        return None, None, None, None, None


@fused
def rotate(qkv, cos, sin):
    """Splits [B, S, 3, H, D/H] into q, k (both turned by position) and v, each [B, H, S, D/H]."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
    return turn(q, cos, sin), turn(k, cos, sin), v.contiguous()


@fused
def rotate_back(gq, gk, gv, cos, sin, scale):
    cos, sin = cos * scale, sin * -scale
    parts = [turn(gq, cos, sin), turn(gk, cos, sin), gv]
    return torch.stack([part.transpose(1, 2) for part in parts], 2)


def turn(x, cos, sin):
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(BF16)


class Attention(Function):
    """Causal attention of fused qkv_T(3D), by its definition because the bfloat16 backward of
    scaled_dot_product_attention is many times slower on a CPU."""

    @staticmethod
    def forward(ctx, qkv, turns, mask, shape):
        batch, sequence, _, heads, size = shape
        q, k, v = (t.view(-1, sequence, size) for t in rotate(qkv.view(shape), *turns))
        share = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=size**-0.5), 2)
        ctx.saved = (q, k, v, share, turns, shape)
        return torch.bmm(share, v).view(batch, heads, sequence, size).transpose(1, 2).reshape(batch * sequence, -1)

    @staticmethod
    def backward(ctx, g):
        q, k, v, share, turns, (batch, sequence, _, heads, size) = ctx.saved
        g = g.view(batch, sequence, heads, size).transpose(1, 2).reshape(q.shape)
        gv = torch.bmm(share.transpose(1, 2), g)
        g_scores = torch._softmax_backward_data(torch.bmm(g, v.transpose(1, 2)), share, 2, BF16)
        gq, gk = torch.bmm(g_scores, k), torch.bmm(g_scores.transpose(1, 2), q)
        heads_apart = (t.view(batch, heads, sequence, size) for t in (gq, gk, gv))
        return rotate_back(*heads_apart, *turns, size**-0.5).view(batch * sequence, -1), None, None, None


@fused
def combine(y_RD, slot_TK, gate_TK):
    return (y_RD[slot_TK].float() * gate_TK.unsqueeze(2)).sum(1).to(BF16)


@fused
def combine_back(g_TD, y_RD, token_R, gate_R):
    g = g_TD[token_R].float()
    return (g * gate_R.unsqueeze(1)).to(BF16), (g * y_RD.float()).sum(1)


class Experts(Function):
    """The sum over kept assignments of gate * expert(x); both matrices of an expert are [F, D]. Experts with
    equal loads are computed several at a time, with batched matmuls."""

    @staticmethod
    def forward(ctx, x_TD, gate_TK, up, down, plan):
        x_RD = x_TD.index_select(0, plan.token_R)
        rows, hidden = len(x_RD), up.half.shape[1]
        a_RF, h_RF = (torch.empty(rows, hidden, dtype=BF16) for _ in range(2))
        y_RD = torch.empty(rows + 1, x_TD.shape[1], dtype=BF16)
        y_RD[rows:].zero_()  # the row that dropped assignments read
        blocks = equal_loads(plan.counts)
        for own, take in blocks:
            a = take(a_RF)
            torch.bmm(take(x_RD), up.half[own].transpose(1, 2), out=a)
            h = torch.ops.aten.gelu.out(a, out=take(h_RF))
            torch.bmm(h, down.half[own], out=take(y_RD[:rows]))
        ctx.saved = (x_RD, a_RF, h_RF, y_RD, gate_TK, up, down, plan, blocks)
        return combine(y_RD, plan.slot_TK, gate_TK)

    @staticmethod
    def backward(ctx, g_TD):
        x_RD, a_RF, h_RF, y_RD, gate_TK, up, down, plan, blocks = ctx.saved
        g_RD, g_gate_R = combine_back(g_TD, y_RD[:-1], plan.token_R, gate_TK.t().reshape(-1)[plan.assignment_R])
        g_gate_A = gate_TK.new_zeros(gate_TK.numel())
        g_gate_A[plan.assignment_R] = g_gate_R
        gx_RD = torch.empty_like(y_RD)
        gx_RD[-1:].zero_()
        for own, take in blocks:
            x, h, g = take(x_RD), take(h_RF), take(g_RD)
            torch.bmm(h.transpose(1, 2), g, out=down.grad[own])
            a = torch.ops.aten.gelu_backward(torch.bmm(g, down.half[own].transpose(1, 2)), take(a_RF))
            torch.bmm(a.transpose(1, 2), x, out=up.grad[own])
            torch.bmm(a, up.half[own], out=take(gx_RD[:-1]))
        for e, count in enumerate(plan.counts):
            if count == 0:
                up.grad[e].zero_()
                down.grad[e].zero_()
        ones = torch.ones_like(gate_TK)
        return combine(gx_RD, plan.slot_TK, ones), g_gate_A.view(plan.slot_TK.shape[1], -1).t(), None, None, None


def equal_loads(counts):
    """Runs of neighbouring experts with the same load: their slice, and a function that takes their rows as
    [n, C, ...]. Experts without rows are left out."""
    blocks, row, first = [], 0, 0
    for count, run in itertools.groupby(counts):
        experts = slice(first, first + len(list(run)))
        rows = slice(row, row + count * (experts.stop - first))
        if count:
            blocks.append((experts, lambda t, rows=rows, count=count: t[rows].view(-1, count, t.shape[1])))
        row, first = rows.stop, experts.stop
    return blocks


@fused
def cross_entropy(logits, target, scale):
    """The sum of losses, and the gradient of the logits times `scale`."""
    x = logits.float()
    largest = x.amax(1, keepdim=True)
    powers = torch.exp(x - largest)
    total = powers.sum(1, keepdim=True)
    hit = torch.arange(x.shape[1]) == target
    loss = (total.log() + largest - x.gather(1, target)).sum()
    return loss, ((powers / total - hit.float()) * scale).to(BF16)


class HeadLoss(Function):
    """Mean cross-entropy of x_TD @ embedding.T and, on the spot, its gradients, in blocks of rows."""

    @staticmethod
    def forward(ctx, x_TD, embedding, targets_T, sums):
        tokens, total = len(x_TD), 0.0
        ctx.dx = torch.empty_like(x_TD)
        for i in range(0, tokens, HEAD_BLOCK):
            x, target = x_TD[i : i + HEAD_BLOCK], targets_T[i : i + HEAD_BLOCK].unsqueeze(1)
            loss, g = cross_entropy(torch.mm(x, embedding.half.t()), target, 1 / tokens)
            total += loss
            torch.mm(g, embedding.half, out=ctx.dx[i : i + HEAD_BLOCK])
            part = torch.mm(g.t(), x)
            sums.copy_(part) if i == 0 else sums.add_(part)
        return total / tokens

    @staticmethod
    def backward(ctx, g):
        return ctx.dx, None, None, None  # the cross-entropy enters the total loss with weight 1
