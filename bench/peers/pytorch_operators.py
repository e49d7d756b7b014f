"""The operators of the peer, with gradients by hand.

They avoid the extra passes over memory of autograd and nn.Module: each `Function` writes the gradient of
its parameter straight into `parameter.grad`, so gradients are neither zeroed, copied nor accumulated.
README.md says what each choice gained.

Shape suffixes: T tokens, B batch, S sequence, D width, F expert hidden width, N experts, K activated
experts, A = K * T assignments in choice-major order, R kept assignments sorted by expert, H heads,
V vocabulary.
"""

import torch
import torch.nn.functional as functional
from torch.autograd import Function

NORM_EPSILON = 1e-5
HEAD_BLOCK = 1024
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')


def product(a, b):
    """a @ b for activations times weights. oneDNN's matmul reads small activation blocks against a
    large weight faster than OpenBLAS does; PyTorch reaches it in float32 only by this operator (the
    one that torch.compile emits). float64 (--check) and builds without oneDNN take the plain matmul."""
    if ONEDNN and a.dtype == torch.float32:
        return torch.ops.mkldnn._linear_pointwise(a, b.t(), None, 'none', [], '')
    return torch.mm(a, b)


class Linear(Function):
    """x_TI @ weight_IO."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.x, ctx.weight = x, weight
        return product(x, weight)

    @staticmethod
    def backward(ctx, g):
        torch.mm(ctx.x.t(), g, out=ctx.weight.grad)
        return torch.mm(g, ctx.weight.t()), None


class RmsNorm(Function):
    """x * weight / sqrt(mean(x^2) + epsilon), row by row; F.rms_norm makes twice the passes."""

    @staticmethod
    def forward(ctx, x, weight):
        squares = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_()
        inverse = squares.div_(x.shape[1]).add_(NORM_EPSILON).rsqrt_()
        unit = x * inverse
        ctx.unit, ctx.inverse, ctx.weight = unit, inverse, weight
        return unit * weight

    @staticmethod
    def backward(ctx, g):
        unit, weight = ctx.unit, ctx.weight
        along = g * unit
        torch.sum(along, 0, out=weight.grad)
        share = torch.mv(along, weight).div_(-unit.shape[1]).unsqueeze_(1)
        return torch.mul(g, weight, out=along).addcmul_(unit, share).mul_(ctx.inverse), None


class Embedding(Function):
    """Rows of the embedding, times a number. Its gradient is added to what the tied head has written already."""

    @staticmethod
    def forward(ctx, weight, tokens, scale):
        ctx.weight, ctx.tokens, ctx.scale = weight, tokens, scale
        return weight.detach().index_select(0, tokens).mul_(scale)

    @staticmethod
    def backward(ctx, g):
        ctx.weight.grad.index_add_(0, ctx.tokens, g, alpha=ctx.scale)
        return None, None, None


def turn(x_BSHd, turns, out):
    """Rotary positions as one complex multiplication, which is one pass over memory where the textbook form
    takes four. The channels of a pair lie side by side in memory (see `side_by_side`)."""
    pairs, result = (torch.view_as_complex(t.unflatten(-1, (-1, 2))) for t in (x_BSHd, out))
    torch.mul(pairs, turns, out=result)


def side_by_side(qkv, heads, back=False):
    """Reorders the channels of q and k. Choir turns channel i of a head with channel i + half. Scores do not
    change when the channels of q and k are put in another order, so here the two become neighbours, or with
    `back` return to Choir's order."""
    width = qkv.shape[0]
    order = torch.arange(width).view(heads, 2, -1).transpose(1, 2).reshape(-1)
    order = order.argsort() if back else order
    return qkv[:, torch.cat([order, order + width, torch.arange(2 * width, 3 * width)])]


class SplitRotate(Function):
    """Splits fused qkv into q, k (both rotated) and v. The backward pass fills one gradient buffer, without
    concatenation."""

    @staticmethod
    def forward(ctx, qkv, turns, shape):
        qkv = qkv.view(*shape)  # [B, S, 3, H, D/H]
        qk = torch.empty(*shape[:2], 2, *shape[3:], dtype=qkv.dtype)
        turn(qkv[:, :, :2], turns, qk)
        ctx.turns = turns
        return tuple(part.transpose(1, 2) for part in (qk[:, :, 0], qk[:, :, 1], qkv[:, :, 2]))

    @staticmethod
    def backward(ctx, *gradients):
        gq, gk, gv = (g.transpose(1, 2) for g in gradients)
        out = torch.empty(*gq.shape[:2], 3, *gq.shape[2:], dtype=gq.dtype)
        back = ctx.turns[:, :, 0].conj().resolve_conj()
        turn(gq, back, out[:, :, 0])
        turn(gk, back, out[:, :, 1])
        out[:, :, 2] = gv
        return out.view(gq.shape[0] * gq.shape[1], -1), None, None


class Experts(Function):
    """The sum over kept assignments of gate * expert(x). Rows lie sorted by expert; only kept ones are
    computed. The gelu runs on one expert's block at a time, while the matmul's result is in cache."""

    @staticmethod
    def forward(ctx, x_TD, gate_TK, up, down, plan):
        zero = x_TD.new_zeros(1, x_TD.shape[1])
        x_RD = x_TD.index_select(0, plan.token_R)
        inner, hidden, outer = [], [], []
        for e, x_CD in enumerate(x_RD.split(plan.counts)):
            a_CF = product(x_CD, up[e]) if len(x_CD) else None
            h_CF = functional.gelu(a_CF) if len(x_CD) else None
            inner.append(a_CF)
            hidden.append(h_CF)
            outer.append(product(h_CF, down[e]) if len(x_CD) else x_CD)
        y_RD = torch.cat([*outer, zero])
        ctx.saved = (x_RD, y_RD, gate_TK, inner, hidden, up, down, plan)
        return plan.combine(y_RD, gate_TK)

    @staticmethod
    def backward(ctx, g_TD):
        x_RD, y_RD, gate_TK, inner, hidden, up, down, plan = ctx.saved
        g_RD = g_TD.index_select(0, plan.token_R)
        gate_A = gate_TK.new_zeros(gate_TK.numel())
        gate_A[plan.assignment_R] = torch.linalg.vecdot(g_RD, y_RD[:-1])
        g_RD.mul_(gate_TK.t().reshape(-1)[plan.assignment_R].unsqueeze(1))
        outer = []
        for e, (x_CD, g_CD) in enumerate(zip(x_RD.split(plan.counts), g_RD.split(plan.counts))):
            if len(x_CD) == 0:
                up.grad[e].zero_()
                down.grad[e].zero_()
                continue
            torch.mm(hidden[e].t(), g_CD, out=down.grad[e])
            a_CF = torch.ops.aten.gelu_backward(product(g_CD, down[e].t()), inner[e])
            inner[e] = hidden[e] = None
            torch.mm(x_CD.t(), a_CF, out=up.grad[e])
            outer.append(product(a_CF, up[e].t()))
        x_TD = plan.combine(torch.cat([*outer, g_TD.new_zeros(1, g_TD.shape[1])]), None)
        return x_TD, gate_A.view(plan.slot_TK.shape[1], -1).t(), None, None, None


class Plan:
    """Which rows each expert computes: assignments sorted by expert and then by (choice, token), without those
    that are beyond the capacity."""

    def __init__(self, expert_TK, experts, capacity):
        tokens, k = expert_TK.shape
        expert_A = expert_TK.t().reshape(-1)
        order_A = torch.argsort(expert_A, stable=True)
        loads = torch.bincount(expert_A, minlength=experts)
        self.loads = loads
        if capacity is None:
            self.assignment_R, kept = order_A, loads
        else:
            rank_A = torch.arange(len(order_A), device=order_A.device) - (loads.cumsum(0) - loads)[expert_A[order_A]]
            self.assignment_R, kept = order_A[rank_A < capacity], loads.clamp(max=capacity)
        self.counts = kept.tolist()
        self.token_R = self.assignment_R % tokens
        rows = len(self.assignment_R)
        slot_A = torch.full((k * tokens,), rows, device=order_A.device)  # a dropped assignment reads the zero row at the end
        slot_A[self.assignment_R] = torch.arange(rows, device=order_A.device)
        self.slot_TK = slot_A.view(k, tokens).t().contiguous()
        self.offsets = torch.arange(0, k * tokens, k, device=order_A.device)
        self.kept_share = rows / len(order_A)

    def combine(self, y_RD, gate_TK):
        """The sum of each token's rows, weighted by its gates if they are given, in one pass."""
        weights = None if gate_TK is None else gate_TK.reshape(-1)
        return torch.embedding_bag(y_RD, self.slot_TK.view(-1), self.offsets, False, 0, False, weights)[0]


class HeadLoss(Function):
    """Mean cross-entropy of x_TD @ embedding.T, with its gradients computed on the spot in blocks of
    rows: the [T, V] logits never exist as a whole, and the softmax turns into the gradient in place."""

    @staticmethod
    def forward(ctx, x_TD, embedding, targets_T):
        tokens = len(x_TD)
        dx_TD, total = torch.empty_like(x_TD), 0.0
        block = min(tokens, HEAD_BLOCK)
        for i in range(0, tokens, block):
            x, target = x_TD[i : i + block], targets_T[i : i + block].unsqueeze(1)
            logits = torch.mm(x, embedding.t())
            chosen, largest = logits.gather(1, target), logits.amax(1, keepdim=True)
            share = torch.softmax(logits, 1, out=logits)
            # logsumexp = largest logit - log of its share: exact, with no second exponential
            total += (largest - share.amax(1, keepdim=True).log_() - chosen).sum()
            share.scatter_add_(1, target, share.new_full((1, 1), -1.0).expand_as(target))
            torch.addmm(dx_TD[i : i + block], share, embedding, beta=0, alpha=1 / tokens, out=dx_TD[i : i + block])
            torch.addmm(embedding.grad, share.t(), x, beta=0 if i == 0 else 1, alpha=1 / tokens, out=embedding.grad)
        ctx.dx = dx_TD
        return total / tokens

    @staticmethod
    def backward(ctx, g):
        return ctx.dx, None, None  # the cross-entropy enters the total loss with weight 1
