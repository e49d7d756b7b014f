"""The peer as a good PyTorch user writes it: float32 modules, autograd, fused AdamW, and autocast with
`--precision bf16`. It runs on the CPU, or on a GPU with `--device cuda` or `mps`.

No gradient is written by hand. torch.autocast casts weights and activations to bfloat16 for matmuls,
experts read their tokens by index, and torch.compile fuses the operations between the matmuls.
pytorch_model.py and pytorch_bf16.py are the same step by hand, for the CPU.

Routing rules, initial values, flags and protocol come from pytorch_moe.py, so a harness may start this
file in its place. Shape suffixes are as in pytorch_operators.py.
"""

import math

import torch
import torch.nn.functional as functional
from torch import nn

import pytorch_moe
from pytorch_compile import COMPILED, fused, use_threads
from pytorch_device import DEVICE
from pytorch_model import Model, Trainer
from pytorch_operators import NORM_EPSILON, side_by_side


@fused
def rms_norm(x, weight, dtype):
    return functional.rms_norm(x, weight.shape, weight, NORM_EPSILON).to(dtype)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.Parameter(torch.ones(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    @fused
    def forward(self, x_BSD, turns, mask):
        batch, sequence, width = x_BSD.shape
        h = functional.rms_norm(x_BSD, (width,), self.norm, NORM_EPSILON)
        q, k, v = self.qkv(h).view(batch, sequence, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = attend(turn(q, *turns), turn(k, *turns), v, mask)
        return x_BSD + self.output(mixed.transpose(1, 2).reshape(batch, sequence, width))


def attend(q, k, v, mask):
    """Causal attention. On a CPU it is computed by its definition, because the bfloat16 backward of
    scaled_dot_product_attention is slow there."""
    if DEVICE != 'cpu':
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask
    return torch.softmax(scores, -1) @ v


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class SparseExperts(nn.Module):
    def __init__(self, width, hidden, experts):
        super().__init__()
        self.norm = nn.Parameter(torch.ones(width))
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.empty(experts, width, hidden))
        self.down = nn.Parameter(torch.empty(experts, hidden, width))

    def forward(self, x_BSD, route, dtype):
        x_TD = x_BSD.flatten(0, 1)
        h_TD = rms_norm(x_TD, self.norm, dtype)
        gate_TK, plan, balance, z = route(self.router(h_TD).float())
        y_RD = self.experts(h_TD.index_select(0, plan.token_R), plan.counts)
        gate_R = gate_TK.t().reshape(-1)[plan.assignment_R]
        x_TD = x_TD.index_add(0, plan.token_R, y_RD * gate_R.unsqueeze(1))
        return x_TD.view_as(x_BSD), balance, z, plan.kept_share

    def experts(self, x_RD, counts):
        """The output of the experts for rows sorted by expert, with batched matmuls if all loads are equal."""
        if len(set(counts)) == 1:
            hidden = functional.gelu(torch.bmm(x_RD.view(len(counts), counts[0], -1), self.up))
            return torch.bmm(hidden, self.down).flatten(0, 1)
        up, down = self.up.to(x_RD.dtype).unbind(), self.down.to(x_RD.dtype).unbind()
        return torch.cat([functional.gelu(x @ up[e]) @ down[e] for e, x in enumerate(x_RD.split(counts))])


@fused
def cross_entropy(logits, targets):
    return functional.cross_entropy(logits.float(), targets)


class Network(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embedding = nn.Embedding(s.vocabulary, s.width)
        self.attention = nn.ModuleList(Attention(s.width, s.heads) for _ in range(s.layers))
        self.experts = nn.ModuleList(SparseExperts(s.width, s.hidden, s.experts) for _ in range(s.layers))
        self.norm = nn.Parameter(torch.ones(s.width))

    def named(self):
        """Choir's names of the parameters; a linear layer keeps its matrix transposed."""
        yield 'embedding', self.embedding.weight
        yield 'norm', self.norm
        for i, (attention, experts) in enumerate(zip(self.attention, self.experts)):
            at = f'layers.{i}.'
            yield at + 'attention.norm', attention.norm
            yield at + 'attention.qkv', attention.qkv.weight
            yield at + 'attention.output', attention.output.weight
            yield at + 'moe.norm', experts.norm
            yield at + 'moe.router', experts.router.weight
            yield at + 'moe.experts.up', experts.up
            yield at + 'moe.experts.down', experts.down


class AutocastModel(Model):
    def prepare(self, values):
        self.dtype = torch.bfloat16 if self.shape.precision == 'autocast' else torch.float32
        self.network = Network(self.shape).to(DEVICE)
        self.parameters = dict(self.network.named())
        for name, value in values:
            if name.endswith('.qkv'):
                value = side_by_side(value, self.shape.heads, back=True)
            transposed = name.endswith(('.qkv', '.output', '.router'))
            self.parameters[name].data.copy_(value.t() if transposed else value)
        angle = self.angles(self.shape.sequence)
        self.turns = (angle.cos().float().to(DEVICE), angle.sin().float().to(DEVICE))
        self.mask = torch.full((self.shape.sequence,) * 2, -math.inf, dtype=self.dtype, device=DEVICE).triu_(1)

    def loss(self, tokens_BS, targets_BS):
        network, balance, z, kept = self.network, 0.0, 0.0, 0.0
        with torch.autocast(DEVICE, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            x = network.embedding(tokens_BS) * self.embedding_scale
            for layer in range(self.shape.layers):
                x = network.attention[layer](x, self.turns, self.mask)
                route = lambda logits: self.route(logits, layer)
                x, balance_l, z_l, share = network.experts[layer](x, route, self.dtype)
                balance, z, kept = balance + balance_l, z + z_l, kept + share
            logits = functional.linear(rms_norm(x.flatten(0, 1), network.norm, self.dtype), network.embedding.weight)
            entropy = cross_entropy(logits, targets_BS.reshape(-1))
        return self.total(entropy, balance, z, kept)


class AutocastTrainer(Trainer):
    def update(self):
        nn.utils.clip_grad_norm_(self.model.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def prepare(shape):
    if shape.generate:
        raise SystemExit('--generate: this peer only trains; pytorch_moe.py generates')
    shape.precision = 'autocast' if shape.precision == 'bf16' else 'float32'
    use_threads(torch.get_num_threads())
    trainer = AutocastTrainer(AutocastModel(shape))
    return trainer.model, lambda command: pytorch_moe.trained(trainer, command), COMPILED


if __name__ == '__main__':
    pytorch_moe.prepare = prepare  # the same process around another model
    pytorch_moe.main()
