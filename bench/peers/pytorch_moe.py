"""The peer: one float32 CPU training step of Choir's sparse expert model, as fast as PyTorch goes.

Think of it as a fair opponent. Same shapes, same routing and capacity rules, same losses and
optimizer as Choir; every tensor operation is a PyTorch operator. What autograd and nn.Module would
do in extra passes over memory is written by hand here: each `Function` below writes the gradient of
its parameter straight into `parameter.grad`, so gradients are neither zeroed, copied nor accumulated.
README.md says what each of these choices gained.

A benchmark keeps this process alive and alternates with it: one JSON command a line on standard
input ({"run": 5}), one JSON answer a line on standard output. Nothing else is printed there.

Shape suffixes: T tokens, B batch, S sequence, D width, F expert hidden width, N experts, K activated
experts, A = K * T assignments in choice-major order, R kept assignments sorted by expert, H heads,
V vocabulary.
"""

import argparse
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as functional
from torch.autograd import Function

AUX_COEFFICIENT, Z_COEFFICIENT = 0.01, 1e-3
NORM_EPSILON, ROTARY_BASE, CAPACITY_FACTOR = 1e-5, 10000.0, 1.25

# name: (prototypes, experts a token activates in each prototype, capacity rule)
VARIANTS = {
    'top1': (1, 1, 'kx'),
    'top2': (1, 2, 'kx'),
    '2top1-kx': (2, 1, 'kx'),
    '2top1-1x': (2, 1, '1x'),
    '4top1-1x': (4, 1, '1x'),
    'dropless-top1': (1, 1, 'none'),
}


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
        inverse = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_().div_(x.shape[1]).add_(NORM_EPSILON).rsqrt_()
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
    """Rows of the embedding. Its gradient is added to what the tied head has written already."""

    @staticmethod
    def forward(ctx, weight, tokens):
        ctx.weight, ctx.tokens = weight, tokens
        return weight.detach().index_select(0, tokens)

    @staticmethod
    def backward(ctx, g):
        ctx.weight.grad.index_add_(0, ctx.tokens, g)
        return None, None


def turn(x_BSHd, turns, out):
    """Rotary positions as one complex multiplication: a pass, where the textbook form takes four. Pairs
    lie side by side in memory (see `side_by_side`)."""
    pairs, result = (torch.view_as_complex(t.unflatten(-1, (-1, 2))) for t in (x_BSHd, out))
    torch.mul(pairs, turns, out=result)


def side_by_side(qkv, heads):
    """Choir turns channel i of a head with channel i + half. Scores do not change when the channels of
    q and k are put in another order, so here the two become neighbours."""
    width = qkv.shape[0]
    order = torch.arange(width).view(heads, 2, -1).transpose(1, 2).reshape(-1)
    return qkv[:, torch.cat([order, order + width, torch.arange(2 * width, 3 * width)])]


class SplitRotate(Function):
    """Fused qkv to q, k (rotated) and v: one gradient buffer, no concatenation on the way back."""

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
    """sum over kept assignments of gate * expert(x). Rows lie sorted by expert; only kept ones are
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
    """Who goes where: assignments sorted by expert, served by (choice, token), cut at capacity."""

    def __init__(self, expert_TK, experts, capacity):
        tokens, k = expert_TK.shape
        expert_A = expert_TK.t().reshape(-1)
        order_A = torch.argsort(expert_A, stable=True)
        loads = torch.bincount(expert_A, minlength=experts)
        self.loads = loads
        if capacity is None:
            self.assignment_R, kept = order_A, loads
        else:
            rank_A = torch.arange(len(order_A)) - (loads.cumsum(0) - loads)[expert_A[order_A]]
            self.assignment_R, kept = order_A[rank_A < capacity], loads.clamp(max=capacity)
        self.counts = kept.tolist()
        self.token_R = self.assignment_R % tokens
        rows = len(self.assignment_R)
        slot_A = torch.full((k * tokens,), rows)  # a dropped assignment reads the zero row at the end
        slot_A[self.assignment_R] = torch.arange(rows)
        self.slot_TK = slot_A.view(k, tokens).t().contiguous()
        self.offsets = torch.arange(0, k * tokens, k)
        self.kept_share = rows / len(order_A)

    def combine(self, y_RD, gate_TK):
        """One pass: each token's rows, weighted by its gates when given, summed."""
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


def given(parameters, name, experts, dtype):
    """A parameter from a file; stacked experts may stand there one by one (`experts.0.up`, ...)."""
    if name in parameters:
        return torch.tensor(parameters[name], dtype=dtype)
    prefix, matrix = name.rsplit('.', 1)
    return torch.stack([torch.tensor(parameters[f'{prefix}.{e}.{matrix}'], dtype=dtype) for e in range(experts)])


class Model:
    """Parameters by Choir's names, and the loss of a batch."""

    def __init__(self, shape, parameters=None, dtype=torch.float32, seed=0):
        self.shape = shape
        self.prototypes, self.k, self.rule = VARIANTS[shape.variant]
        generator = torch.Generator().manual_seed(seed)
        self.parameters = {}
        for name, (size, fan_in) in self.sizes().items():
            if parameters is not None:
                value = given(parameters, name, shape.experts, dtype).reshape(size)
                value = side_by_side(value, shape.heads) if name.endswith('.qkv') else value
            elif fan_in is None:
                value = torch.ones(size, dtype=dtype)
            else:
                value = torch.empty(size, dtype=dtype).normal_(0, fan_in**-0.5, generator=generator)
            value.requires_grad_().grad = torch.zeros_like(value)
            self.parameters[name] = value
        head = shape.width // shape.heads
        speed = ROTARY_BASE ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
        angle = (torch.arange(shape.sequence).unsqueeze(1) * speed).view(1, shape.sequence, 1, 1, head // 2)
        self.turns = torch.complex(angle.cos().to(dtype), angle.sin().to(dtype))
        tokens, each = shape.batch * shape.sequence, shape.experts // (self.prototypes * self.k)
        # --balanced: an even share of the tokens for each expert, a different one in every layer
        self.forced = [
            torch.stack([torch.randperm(tokens, generator=generator) % each + i * each for i in range(self.prototypes * self.k)], 1)
            for _ in range(shape.layers if shape.balanced else 0)
        ]

    def sizes(self):
        """Name: (shape, fan-in of the initial normal distribution, or None for ones)."""
        s = self.shape
        d, f, n = s.width, s.hidden, s.experts
        sizes = {'embedding': ((s.vocabulary, d), d), 'norm': ((d,), None)}
        for layer in range(s.layers):
            at = f'layers.{layer}.'
            sizes[at + 'attention.norm'] = ((d,), None)
            sizes[at + 'attention.qkv'] = ((d, 3 * d), d)
            sizes[at + 'attention.output'] = ((d, d), d)
            sizes[at + 'moe.norm'] = ((d,), None)
            sizes[at + 'moe.router'] = ((d, n), d)
            sizes[at + 'moe.experts.up'] = ((n, d, f), d)
            sizes[at + 'moe.experts.down'] = ((n, f, d), f)
        return sizes

    def capacity(self, tokens):
        k = {'kx': self.prototypes * self.k, '1x': 1, 'none': None}[self.rule]
        return None if k is None else max(1, math.ceil(k * tokens / self.shape.experts * CAPACITY_FACTOR - 1e-9))

    def route(self, x_TD, router, layer):
        """The gates, the plan, and the two router losses (means over prototypes)."""
        tokens, experts, groups = len(x_TD), self.shape.experts, self.prototypes
        each = experts // groups
        logits = Linear.apply(x_TD, router).view(tokens, groups, each)
        log_sum = torch.logsumexp(logits, 2, keepdim=True)
        share = torch.exp(logits - log_sum)
        index = share.argmax(2, keepdim=True) if self.k == 1 else share.topk(self.k, 2).indices
        expert_TK = (index + torch.arange(0, experts, each).view(1, groups, 1)).view(tokens, groups * self.k)
        if self.forced:
            expert_TK = self.forced[layer]
        share_TN = share.view(tokens, experts)
        plan = Plan(expert_TK, experts, self.capacity(tokens))
        load = plan.loads.to(x_TD.dtype) / (tokens * self.k)
        balance = each / groups * torch.dot(load, share_TN.mean(0))
        return share_TN.gather(1, expert_TK), plan, balance, log_sum.square().mean()

    def loss(self, tokens_BS, targets_BS):
        """Total loss (a scalar to differentiate) and its parts."""
        s, p = self.shape, self.parameters
        batch, sequence = tokens_BS.shape
        x = Embedding.apply(p['embedding'], tokens_BS.reshape(-1))
        balance, z, kept = 0.0, 0.0, 0.0
        for layer in range(s.layers):
            at = f'layers.{layer}.'
            h = RmsNorm.apply(x, p[at + 'attention.norm'])
            qkv = Linear.apply(h, p[at + 'attention.qkv'])
            q, k, v = SplitRotate.apply(qkv, self.turns, (batch, sequence, 3, s.heads, s.width // s.heads))
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + Linear.apply(mixed.transpose(1, 2).reshape(-1, s.width), p[at + 'attention.output'])
            h = RmsNorm.apply(x, p[at + 'moe.norm'])
            gate_TK, plan, balance_l, z_l = self.route(h, p[at + 'moe.router'], layer)
            x = x + Experts.apply(h, gate_TK, p[at + 'moe.experts.up'], p[at + 'moe.experts.down'], plan)
            balance, z, kept = balance + balance_l, z + z_l, kept + plan.kept_share / s.layers
        entropy = HeadLoss.apply(RmsNorm.apply(x, p['norm']), p['embedding'], targets_BS.reshape(-1))
        total = entropy + AUX_COEFFICIENT * balance + Z_COEFFICIENT * z
        return total, {'loss': entropy.detach(), 'balance': balance.detach(), 'z': z.detach(), 'keptShare': kept}


class Trainer:
    """Fused AdamW with global-norm clipping: the clip factor rides on AdamW's own gradient scale."""

    def __init__(self, model):
        self.model = model
        decayed, free = [], []
        for name, value in model.parameters.items():
            (free if 'norm' in name or 'router' in name or name == 'embedding' else decayed).append(value)
        groups = [{'params': decayed, 'weight_decay': 0.1}, {'params': free, 'weight_decay': 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
        self.generator = torch.Generator().manual_seed(1)

    def step(self):
        s = self.model.shape
        data = torch.randint(s.vocabulary, (s.batch, s.sequence + 1), generator=self.generator)
        start = time.perf_counter()
        total, parts = self.model.loss(data[:, :-1], data[:, 1:])
        total.backward()
        middle = time.perf_counter()
        # a dot product is the fastest square sum of a flat float32 tensor on CPU
        squares = [torch.dot(value.grad.view(-1), value.grad.view(-1)) for value in self.model.parameters.values()]
        norm = torch.stack(squares).sum().sqrt_()
        self.optimizer.grad_scale = norm.clamp(min=1.0) if norm > 1 else None
        self.optimizer.step()
        end = time.perf_counter()
        return (end - start) * 1e3, (middle - start) * 1e3, (end - middle) * 1e3, parts


def blas_in_use():
    """The linear algebra libraries this process has really loaded; only Linux tells."""
    try:
        with open('/proc/self/maps') as maps:
            paths = {line.split()[-1] for line in maps if '/' in line}
    except OSError:
        return ['unknown']
    return sorted(path for path in paths if any(word in path for word in ('blas', 'dnnl', 'mkl', 'gomp', 'libomp')))


def peak_mib():
    """Peak resident memory of this process, MiB (null on Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == 'darwin' else peak / 2**10


def answer(message):
    print(json.dumps(message), flush=True)


def serve(shape):
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    model = Model(shape)
    trainer = Trainer(model)
    parameters = sum(value.numel() for value in model.parameters.values())
    answer({'ready': True, 'torch': torch.__version__, 'threads': torch.get_num_threads(), 'onednn': ONEDNN,
            'libraries': blas_in_use(), 'parameters': parameters, 'balanced': shape.balanced})
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            steps = json.loads(line)['run']
            if not isinstance(steps, int) or steps < 1:
                raise ValueError(f'run: {steps!r} (expected a whole number of steps, at least 1)')
        except (ValueError, KeyError, TypeError) as error:
            answer({'error': f'{type(error).__name__}: {error}; expected {{"run": steps}}'})
            continue
        results = [trainer.step() for _ in range(steps)]
        answer({
            'stepMs': [r[0] for r in results],
            'gradientMs': [r[1] for r in results],
            'updateMs': [r[2] for r in results],
            'tokens': steps * shape.batch * shape.sequence,
            'keptShare': sum(r[3]['keptShare'] for r in results) / steps,
            'loss': float(results[-1][3]['loss']),
            'peakMiB': peak_mib(),
        })


def check(path, shape):
    """Loss of given float64 parameters on given tokens, and the gradient against a central difference.

    The file: {"tokens": [B][S + 1] integers, "parameters": {name: numbers, nested or flat}}.
    """
    with open(path) as file:
        given = json.load(file)
    data = torch.tensor(given['tokens'])
    shape.batch, shape.sequence = data.shape[0], data.shape[1] - 1
    model = Model(shape, given['parameters'], torch.float64)
    total, parts = model.loss(data[:, :-1], data[:, 1:])
    total.backward()
    generator = torch.Generator().manual_seed(0)
    slope, step, sides = 0.0, 1e-6, []
    directions = [torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in model.parameters.values()]
    norms = {name: float(value.grad.norm()) for name, value in model.parameters.items()}
    for value, direction in zip(model.parameters.values(), directions):
        slope += float((value.grad * direction).sum())
    for sign in (1, -1):
        for value, direction in zip(model.parameters.values(), directions):
            value.data.add_(direction, alpha=sign * step)
        sides.append(float(model.loss(data[:, :-1], data[:, 1:])[0]))
        for value, direction in zip(model.parameters.values(), directions):
            value.data.add_(direction, alpha=-sign * step)
    answer({'total': float(total), **{name: float(part) for name, part in parts.items()}, 'gradientNorms': norms,
            'slope': slope, 'differenceSlope': (sides[0] - sides[1]) / (2 * step)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for name, default in (('layers', 4), ('width', 256), ('heads', 4), ('experts', 16), ('hidden', 1024),
                          ('vocabulary', 4096), ('sequence', 256), ('batch', 16)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--variant', choices=VARIANTS, default='top1')
    parser.add_argument('--threads', type=int, default=int(os.environ.get('OMP_NUM_THREADS', 0)) or None)
    parser.add_argument('--balanced', action='store_true', help='force an even load on every expert')
    parser.add_argument('--check', metavar='FILE', help='print the float64 loss of the parameters in FILE')
    shape = parser.parse_args()
    if shape.width % (2 * shape.heads) != 0:
        parser.error(f'--heads {shape.heads}: --width {shape.width} must be a multiple of twice the heads')
    prototypes, k, _ = VARIANTS[shape.variant]
    if shape.experts % (prototypes * k) != 0:
        parser.error(f'--experts {shape.experts}: must be a multiple of {prototypes * k} for {shape.variant}')
    if shape.threads:
        torch.set_num_threads(shape.threads)
    check(shape.check, shape) if shape.check else serve(shape)


ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')
HEAD_BLOCK = int(os.environ.get('HB', 1024))

if __name__ == '__main__':
    main()
