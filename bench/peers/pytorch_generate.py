"""Generation by the peer: one stream of greedy tokens, one at a time, with a key-value cache.

A token reads every weight that it needs once and computes almost nothing, so generation is fast if it
reads at memory speed and does little besides. Weights stand as [out, in], so that an output is one row's
dot product with the input; torch.compile turns a layer into a few loops, in which the expert is an index
and not a copy. The prompt is run at once, by plain operators. No assignment is dropped: capacity is a
matter of training.

D width, H heads, F expert hidden width, N experts, K activated experts, S cached positions, P prompt.
"""

import time

import torch
import torch.nn.functional as functional

from pytorch_compile import COMPILED, fused
from pytorch_model import Model
from pytorch_operators import NORM_EPSILON, side_by_side

SPAN = 64  # the length of the cache is a multiple of this; each length is compiled once


def norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPSILON) * weight


def dot(weight_OI, x_I):
    """The rows' dot products with x, in float32. In compiled code, mv would copy the rows that `pick` picks."""
    if COMPILED:
        return (weight_OI.float() * x_I).sum(1)
    return torch.mv(weight_OI, x_I.to(weight_OI.dtype)).float()


def pick(weights, expert):
    return weights.index_select(0, expert)[0] if COMPILED else weights[int(expert)]


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def choose(logits, prototypes, k):
    """Experts and gates, both [..., K]: the k best experts of each prototype."""
    each = logits.shape[-1] // prototypes
    share = torch.softmax(logits.unflatten(-1, (prototypes, each)), -1)
    gate, index = share.max(-1, keepdim=True) if k == 1 else share.topk(k, -1)
    first = torch.arange(0, prototypes * each, each).unsqueeze(1)
    return (index + first).flatten(-2), gate.flatten(-2)


@fused
def next_layer(x, layer, keys_HSd, values_HSd, position, cos_Sd, sin_Sd, prototypes, k):
    """The residual stream of one token after a layer; the token's key and value enter the cache.

    The inputs of matrices are returned too, because the compiler stores an output once. It would compute
    another value, such as the norm or the gelu, again for every row of the matrix."""
    heads, span, size = keys_HSd.shape
    h = norm(x, layer['attention.norm'])
    query, key, value = dot(layer['attention.qkv'], h).view(3, heads, size).unbind()
    cos, sin = cos_Sd.index_select(0, position), sin_Sd.index_select(0, position)
    keys_HSd.index_copy_(1, position, turn(key, cos, sin).unsqueeze(1).to(keys_HSd.dtype))
    values_HSd.index_copy_(1, position, value.unsqueeze(1).to(values_HSd.dtype))
    scores = (keys_HSd.float() * (turn(query, cos, sin) * size**-0.5).unsqueeze(1)).sum(2)
    share = torch.softmax(scores.masked_fill(torch.arange(span) > position, float('-inf')), 1)
    mixed = (share.unsqueeze(2) * values_HSd.float()).sum(1).view(-1)
    x = x + dot(layer['attention.output'], mixed)
    stored = [h, mixed, h := norm(x, layer['moe.norm'])]
    experts, gates = choose(dot(layer['moe.router'], h), prototypes, k)
    for expert, gate in zip(experts.split(1), gates.split(1)):
        inner = functional.gelu(dot(pick(layer['moe.experts.up'], expert), h))
        x = x + gate * dot(pick(layer['moe.experts.down'], expert), inner)
        stored += [inner, x]
    return x, stored


@fused
def best(x, norm_D, embedding_VD):
    h = norm(x, norm_D)
    return dot(embedding_VD, h).argmax(0, keepdim=True), h


class Generator:
    """The model, with its weights in the layout for generation."""

    def __init__(self, shape, dtype, parameters=None):
        self.shape, self.dtype = shape, dtype
        self.model = ForWeights(shape, parameters)
        self.layers = [self.model.layer(at, dtype) for at in range(shape.layers)]
        self.embedding, self.norm = self.model.values['embedding'].to(dtype), self.model.values['norm']

    @torch.inference_mode()
    def generate(self, prompt, count):
        """Greedy tokens after a prompt of ids, with their times: (ids, milliseconds of the prompt, milliseconds
        of each id but the first, which the prompt's last position gives)."""
        start = time.perf_counter()
        spans = -(-(len(prompt) + count) // SPAN) * SPAN
        angle = self.model.angles(spans)
        turns = angle.cos().float(), angle.sin().float()
        heads, size = self.shape.heads, self.shape.width // self.shape.heads
        caches = [torch.zeros(2, heads, spans, size, dtype=self.dtype) for _ in self.layers]
        token = self.prefill(torch.tensor(prompt), caches, turns)
        tokens, times = [int(token)], [time.perf_counter()]
        for position in range(len(prompt), len(prompt) + count - 1):
            token = self.next(token, torch.tensor([position]), caches, turns)
            tokens.append(int(token))
            times.append(time.perf_counter())
        return tokens, (times[0] - start) * 1e3, [(b - a) * 1e3 for a, b in zip(times, times[1:])]

    def next(self, token, position, caches, turns):
        x = self.embedding.index_select(0, token)[0].float() * self.model.embedding_scale
        for layer, (keys, values) in zip(self.layers, caches):
            x, _ = next_layer(x, layer, keys, values, position, *turns, self.model.prototypes, self.model.k)
        return best(x, self.norm, self.embedding)[0]

    def prefill(self, prompt, caches, turns):
        heads, length = self.shape.heads, len(prompt)
        cos, sin = (t[:length] for t in turns)
        x_PD = self.embedding[prompt].float() * self.model.embedding_scale
        for layer, cache in zip(self.layers, caches):
            h = norm(x_PD, layer['attention.norm']).to(self.dtype)
            qkv = functional.linear(h, layer['attention.qkv']).view(length, 3, heads, -1).permute(1, 2, 0, 3)
            q, k = turn(qkv[:2].float(), cos, sin).to(self.dtype)
            cache[0, :, :length], cache[1, :, :length] = k, qkv[2]
            mixed = functional.scaled_dot_product_attention(q[None], k[None], qkv[2][None], is_causal=True)[0]
            x_PD = x_PD + functional.linear(mixed.transpose(0, 1).reshape(length, -1), layer['attention.output'])
            h = norm(x_PD, layer['moe.norm']).to(self.dtype)
            logits = functional.linear(h, layer['moe.router']).float()
            experts, gates = choose(logits, self.model.prototypes, self.model.k)
            for expert in experts.unique().tolist():
                row, choice = (experts == expert).nonzero().unbind(1)
                inner = functional.gelu(functional.linear(h[row], layer['moe.experts.up'][expert]))
                y = functional.linear(inner, layer['moe.experts.down'][expert])
                x_PD.index_add_(0, row, gates[row, choice].unsqueeze(1) * y)
        return functional.linear(norm(x_PD[-1:], self.norm).to(self.dtype), self.embedding)[0].argmax(0, keepdim=True)


class ForWeights(Model):
    """The peer's parameters, without gradients."""

    def prepare(self, values):
        self.values = {name: side_by_side(value, self.shape.heads, back=True) if name.endswith('.qkv') else value
                       for name, value in values}

    def layer(self, at, dtype):
        """The weights of a layer as [out, in]; weights of norms stay float32 vectors."""
        prefix, weights = f'layers.{at}.', {}
        for name in [name for name in self.values if name.startswith(prefix)]:
            value = self.values.pop(name)
            norm = name.endswith('norm')
            weights[name.removeprefix(prefix)] = value if norm else value.transpose(-1, -2).to(dtype).contiguous()
        return weights
