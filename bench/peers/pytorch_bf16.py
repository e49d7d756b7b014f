"""The peer's model and training step in bfloat16, made of pytorch_bf16_operators.py."""

import math

import torch

from pytorch_bf16_operators import AddNorm, Attention, Embedding, Experts, Flat, FlatAdamW, HeadLoss, Linear
from pytorch_model import Model, Trainer, decays
from pytorch_operators import side_by_side


class Bf16Model(Model):
    """`Model` with bfloat16 matmuls: both matrices of an expert are [F, D], and the channels of a head
    stay in Choir's order."""

    def prepare(self, values):
        n, d, f = self.shape.experts, self.shape.width, self.shape.hidden
        sizes = {name: (n, f, d) if name.endswith('.up') else size for name, (size, _) in self.sizes().items()}
        self.flat = Flat(sizes, decays)
        for name, value in values:
            if name.endswith('.up'):
                value = value.transpose(1, 2)
            if name.endswith('.qkv'):
                value = side_by_side(value, self.shape.heads, back=True)
            self.flat.weights[name].master.copy_(value)
        self.flat.half.copy_(self.flat.master)
        angle = self.angles(self.shape.sequence)
        self.turns = (angle.cos().float(), angle.sin().float())
        self.mask = torch.full((self.shape.sequence,) * 2, -math.inf, dtype=torch.bfloat16).triu_(1)
        self.anchor = torch.zeros(1, requires_grad=True)
        self.embedding_grad = torch.zeros(self.shape.vocabulary, self.shape.width)

    def loss(self, tokens_BS, targets_BS):
        s, w = self.shape, self.flat.weights
        batch, sequence = tokens_BS.shape
        tokens_T = tokens_BS.reshape(-1)
        x = Embedding.apply(self.anchor, w['embedding'], tokens_T, self.embedding_grad, self.embedding_scale)
        y = torch.zeros(1, dtype=torch.bfloat16).expand_as(x)
        balance, z, kept = 0.0, 0.0, 0.0
        for layer in range(s.layers):
            at = f'layers.{layer}.'
            x, h = AddNorm.apply(x, y, w[at + 'attention.norm'])
            qkv = Linear.apply(h, w[at + 'attention.qkv'])
            mixed = Attention.apply(qkv, self.turns, self.mask, (batch, sequence, 3, s.heads, s.width // s.heads))
            y = Linear.apply(mixed, w[at + 'attention.output'])
            x, h = AddNorm.apply(x, y, w[at + 'moe.norm'])
            logits = Linear.apply(h, w[at + 'moe.router']).float()
            gate_TK, plan, balance_l, z_l = self.route(logits, layer)
            y = Experts.apply(h, gate_TK, w[at + 'moe.experts.up'], w[at + 'moe.experts.down'], plan)
            balance, z, kept = balance + balance_l, z + z_l, kept + plan.kept_share
        _, h = AddNorm.apply(x, y, w['norm'])
        entropy = HeadLoss.apply(h, w['embedding'], targets_BS.reshape(-1), self.embedding_grad)
        return self.total(entropy, balance, z, kept)


class Bf16Trainer(Trainer):
    def prepare(self):
        self.optimizer = FlatAdamW(self.model.flat)

    def update(self):
        self.optimizer.step()
