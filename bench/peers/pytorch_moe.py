"""The peer: one float32 CPU training step of Choir's sparse expert model, as fast as PyTorch goes.

Think of it as a fair opponent. Same shapes, same routing and capacity rules, same losses and
optimizer as Choir; every tensor operation is a PyTorch operator (pytorch_operators.py).

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

from pytorch_operators import (ONEDNN, Embedding, Experts, HeadLoss, Linear, Plan, RmsNorm, SplitRotate,
                               side_by_side)

AUX_COEFFICIENT, Z_COEFFICIENT = 0.01, 1e-3
ROTARY_BASE, CAPACITY_FACTOR = 10000.0, 1.25

# name: (prototypes, experts a token activates in each prototype, capacity rule)
VARIANTS = {
    'top1': (1, 1, 'kx'),
    'top2': (1, 2, 'kx'),
    '2top1-kx': (2, 1, 'kx'),
    '2top1-1x': (2, 1, '1x'),
    '4top1-1x': (4, 1, '1x'),
    'dropless-top1': (1, 1, 'none'),
}


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
        self.forced = [self.even_load(generator) for _ in range(shape.layers if shape.balanced else 0)]

    def even_load(self, generator):
        """Experts [T, K], the same number of tokens for each: choice i takes the i-th block of experts."""
        tokens, activated = self.shape.batch * self.shape.sequence, self.prototypes * self.k
        block = self.shape.experts // activated
        choices = [torch.randperm(tokens, generator=generator) % block + i * block for i in range(activated)]
        return torch.stack(choices, 1)

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
            balance, z, kept = balance + balance_l, z + z_l, kept + plan.kept_share
        entropy = HeadLoss.apply(RmsNorm.apply(x, p['norm']), p['embedding'], targets_BS.reshape(-1))
        total = entropy + AUX_COEFFICIENT * balance + Z_COEFFICIENT * z
        parts = {'loss': entropy.detach(), 'balance': balance.detach(), 'z': z.detach(), 'keptShare': kept / s.layers}
        return total, parts


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
    """Losses of given float64 parameters on given tokens, and the gradient against a central difference.

    The file: {"tokens": [B][S + 1] integers, "parameters": {name: numbers, nested or flat}}.
    """
    with open(path) as file:
        case = json.load(file)
    data = torch.tensor(case['tokens'])
    shape.batch, shape.sequence = data.shape[0], data.shape[1] - 1
    model = Model(shape, case['parameters'], torch.float64)
    total, parts = model.loss(data[:, :-1], data[:, 1:])
    total.backward()
    generator = torch.Generator().manual_seed(0)
    step, sides = 1e-6, []
    norms = {name: float(value.grad.norm()) for name, value in model.parameters.items()}
    values = list(model.parameters.values())
    directions = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in values]
    slope = sum(float((value.grad * direction).sum()) for value, direction in zip(values, directions))
    for move in (step, -2 * step):
        for value, direction in zip(values, directions):
            value.data.add_(direction, alpha=move)
        sides.append(float(model.loss(data[:, :-1], data[:, 1:])[0]))
    answer({
        'variant': shape.variant,
        'total': float(total),
        **{name: float(part) for name, part in parts.items()},
        'gradientNorms': norms,
        'slope': slope,
        'differenceSlope': (sides[0] - sides[1]) / (2 * step),
    })


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for name, default in (('layers', 4), ('width', 256), ('heads', 4), ('experts', 16), ('hidden', 1024),
                          ('vocabulary', 4096), ('sequence', 256), ('batch', 16)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--variant', choices=VARIANTS, help='default: top1; with --check: each in turn')
    parser.add_argument('--threads', type=int, default=int(os.environ.get('OMP_NUM_THREADS', 0)) or None)
    parser.add_argument('--balanced', action='store_true', help='force an even load on every expert')
    parser.add_argument('--check', metavar='FILE', help='print the float64 losses of the parameters in FILE')
    shape = parser.parse_args()
    if shape.width % (2 * shape.heads) != 0:
        parser.error(f'--heads {shape.heads}: --width {shape.width} must be a multiple of twice the heads')
    variants = [shape.variant] if shape.variant else list(VARIANTS) if shape.check else ['top1']
    for variant in variants:
        prototypes, k, _ = VARIANTS[variant]
        if shape.experts % (prototypes * k) != 0:
            parser.error(f'--experts {shape.experts}: must be a multiple of {prototypes * k} for {variant}')
    if shape.threads:
        torch.set_num_threads(shape.threads)
    for shape.variant in variants:
        check(shape.check, shape) if shape.check else serve(shape)


if __name__ == '__main__':
    main()
