"""The peer's model and training step: Choir's sparse expert model, its losses and its optimizer, in
float32 (and float64, for the check). Shape suffixes are as in pytorch_operators.py.
"""

import math
import time

import torch
import torch.nn.functional as functional

from pytorch_device import DEVICE, synchronize
from pytorch_operators import Embedding, Experts, HeadLoss, Linear, Plan, RmsNorm, SplitRotate, side_by_side

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
        self.prepare(self.initial(parameters, dtype, generator))
        self.forced = [self.even_load(generator) for _ in range(shape.layers if shape.balanced else 0)]

    def initial(self, parameters, dtype, generator):
        """Names and values of all parameters, given or random."""
        for name, (size, fan_in) in self.sizes().items():
            if parameters is not None:
                value = given(parameters, name, self.shape.experts, dtype).reshape(size)
                value = side_by_side(value, self.shape.heads) if name.endswith('.qkv') else value
            elif fan_in is None:
                value = torch.ones(size, dtype=dtype)
            else:
                value = torch.empty(size, dtype=dtype).normal_(0, self.deviation(name, fan_in), generator=generator)
            yield name, value

    @property
    def embedding_scale(self):
        """Factor of an embedding where it enters the first layer: Choir's `third-width`."""
        return self.shape.width / 3

    def deviation(self, name, fan_in):
        """Standard deviation of a new matrix: the residual stream begins at 1, and each branch that is added to it
        at 1/sqrt(2 layers)."""
        if name == 'embedding':
            return 1 / self.embedding_scale
        branch = name.endswith(('.output', '.down'))
        return fan_in**-0.5 * ((2 * self.shape.layers) ** -0.5 if branch else 1)

    def prepare(self, values):
        self.parameters = {}
        for name, value in values:
            value.requires_grad_().grad = torch.zeros_like(value)
            self.parameters[name] = value
        angle = self.angles(self.shape.sequence).view(1, self.shape.sequence, 1, 1, -1)
        self.turns = torch.complex(angle.cos().to(value.dtype), angle.sin().to(value.dtype))

    def angles(self, positions):
        """Rotary angles [positions, D/H/2], float64."""
        head = self.shape.width // self.shape.heads
        speed = ROTARY_BASE ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
        return torch.arange(positions).unsqueeze(1) * speed

    def even_load(self, generator):
        """Experts [T, K], the same number of tokens for each: choice i takes the i-th block of experts."""
        tokens, activated = self.shape.batch * self.shape.sequence, self.prototypes * self.k
        block = self.shape.experts // activated
        choices = [torch.randperm(tokens, generator=generator) % block + i * block for i in range(activated)]
        return torch.stack(choices, 1).to(DEVICE)

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

    def route(self, logits_TN, layer):
        """The gates, the plan, and the two router losses (means over prototypes)."""
        (tokens, experts), groups = logits_TN.shape, self.prototypes
        each = experts // groups
        logits = logits_TN.view(tokens, groups, each)
        log_sum = torch.logsumexp(logits, 2, keepdim=True)
        share = torch.exp(logits - log_sum)
        index = share.argmax(2, keepdim=True) if self.k == 1 else share.topk(self.k, 2).indices
        expert_TK = (index + torch.arange(0, experts, each, device=DEVICE).view(1, groups, 1)).view(tokens, groups * self.k)
        if self.forced:
            expert_TK = self.forced[layer]
        share_TN = share.view(tokens, experts)
        plan = Plan(expert_TK, experts, self.capacity(tokens))
        load = plan.loads.to(logits.dtype) / (tokens * self.k)
        balance = each / groups * torch.dot(load, share_TN.mean(0))
        return share_TN.gather(1, expert_TK), plan, balance, log_sum.square().mean()

    def written(self, value, *names):
        """Returns `value`, whose gradient function is the last to write gradients of these parameters.
        pytorch_ranks.py overrides this, to sum the gradients over ranks when they are complete."""
        return value

    def experts(self, x_TD, gate_TK, plan, at):
        return Experts.apply(x_TD, gate_TK, self.parameters[at + 'up'], self.parameters[at + 'down'], plan)

    def loss(self, tokens_BS, targets_BS):
        """Total loss (a scalar to differentiate) and its parts."""
        s, p = self.shape, self.parameters
        batch, sequence = tokens_BS.shape
        written = self.written
        x = written(Embedding.apply(p['embedding'], tokens_BS.reshape(-1), self.embedding_scale), 'embedding')
        balance, z, kept = 0.0, 0.0, 0.0
        for layer in range(s.layers):
            at = f'layers.{layer}.'
            h = written(RmsNorm.apply(x, p[at + 'attention.norm']), at + 'attention.norm')
            qkv = written(Linear.apply(h, p[at + 'attention.qkv']), at + 'attention.qkv')
            q, k, v = SplitRotate.apply(qkv, self.turns, (batch, sequence, 3, s.heads, s.width // s.heads))
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            mixed = mixed.transpose(1, 2).reshape(-1, s.width)
            x = x + written(Linear.apply(mixed, p[at + 'attention.output']), at + 'attention.output')
            h = written(RmsNorm.apply(x, p[at + 'moe.norm']), at + 'moe.norm')
            logits = written(Linear.apply(h, p[at + 'moe.router']), at + 'moe.router')
            gate_TK, plan, balance_l, z_l = self.route(logits, layer)
            x = x + self.experts(h, gate_TK, plan, at + 'moe.experts.')
            balance, z, kept = balance + balance_l, z + z_l, kept + plan.kept_share
        final = written(RmsNorm.apply(x, p['norm']), 'norm')
        entropy = HeadLoss.apply(final, p['embedding'], targets_BS.reshape(-1))
        return self.total(entropy, balance, z, kept)

    def total(self, entropy, balance, z, kept):
        total = entropy + AUX_COEFFICIENT * balance + Z_COEFFICIENT * z
        parts = {'loss': entropy.detach(), 'balance': balance.detach(), 'z': z.detach()}
        return total, {**parts, 'keptShare': kept / self.shape.layers}


def decays(name):
    return not ('norm' in name or 'router' in name or name == 'embedding')


class Trainer:
    """Fused AdamW with global-norm clipping, whose factor is passed as AdamW's own gradient scale."""

    def __init__(self, model):
        self.model = model
        self.generator = torch.Generator().manual_seed(1)
        self.prepare()

    def prepare(self):
        decayed, free = [], []
        for name, value in self.model.parameters.items():
            (decayed if decays(name) else free).append(value)
        groups = [{'params': decayed, 'weight_decay': 0.1}, {'params': free, 'weight_decay': 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)

    def batch(self):
        s = self.model.shape
        return torch.randint(s.vocabulary, (s.batch, s.sequence + 1), generator=self.generator).to(DEVICE)

    def step(self):
        """Milliseconds of the step, of the gradient and of the update, and the losses. On a GPU the gradient ends when
        its work is ordered, and the update includes waiting for all work."""
        data = self.batch()
        synchronize()
        start = time.perf_counter()
        total, parts = self.model.loss(data[:, :-1], data[:, 1:])
        total.backward()
        middle = time.perf_counter()
        self.update()
        synchronize()
        end = time.perf_counter()
        return (end - start) * 1e3, (middle - start) * 1e3, (end - middle) * 1e3, parts

    def update(self):
        # a dot product is the fastest square sum of a flat float32 tensor on CPU
        squares = [torch.dot(value.grad.view(-1), value.grad.view(-1)) for value in self.model.parameters.values()]
        norm = torch.stack(squares).sum().sqrt_()
        self.optimizer.grad_scale = norm.clamp(min=1.0) if norm > 1 else None
        self.optimizer.step()
