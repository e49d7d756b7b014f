"""A language model that was trained with Choir, in plain PyTorch.

The file stands alone. With transformers it is a causal language model:

    model = AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)

Without transformers, PyTorch alone is enough:

    python3 modeling_choir.py FOLDER --tokens 1,2,3      prints logits as JSON, a list for every token

Letters in comments: B sequences, S tokens each, T = B·S, D width, H heads of queries, d their width, N experts, K
experts of a token, V vocabulary. Experts have no capacity: no token is dropped.
"""

import json
import math
import os
import struct
import sys
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

try:
    from transformers import GenerationMixin, PreTrainedModel
    from transformers.cache_utils import DynamicCache
    from transformers.modeling_outputs import CausalLMOutputWithPast

    from .configuration_choir import ChoirConfig
except ImportError:
    PreTrainedModel = None


class Norm(nn.Module):
    """RMS norm, or layer norm with a bias, over the last axis."""

    def __init__(self, width, config, kind=None):
        super().__init__()
        self.epsilon = config.norm_epsilon
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if (kind or config.norm) == "layer" else None

    def forward(self, x):
        if self.bias is not None:
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)
        exact = x.float()
        exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.epsilon)
        return exact.to(x.dtype) * self.weight


class FeedForward(nn.Module):
    """gelu(x·up)·down, or SwiGLU: (silu(x·gate) ∘ x·up)·down. No biases."""

    def __init__(self, width, hidden, config):
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False) if config.activation == "swiglu" else None
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        if self.gate is None:
            return self.down(F.gelu(self.up(x)))
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Router(nn.Module):
    """The experts [T, K] of every token, and their gates [T, K].

    The N experts form Z prototypes of N/Z, each with k experts of a token; Z is 1 for all routers but "prototype".
    A "hash" router has a table of experts by token id.
    """

    def __init__(self, width, config):
        super().__init__()
        self.moe = moe = SimpleNamespace(**config.moe)
        self.weight = self.bias = None
        if moe.router == "hash":
            self.register_buffer("table", torch.zeros(config.vocab_size, moe.k, dtype=torch.int32))
            return
        self.weight = nn.Parameter(torch.zeros(moe.experts, width))
        if moe.router == "bias":
            self.bias = nn.Parameter(torch.zeros(moe.experts))

    def forward(self, x, ids):
        moe = self.moe
        if self.weight is None:
            experts = self.table[ids.reshape(-1)].long()
            return experts, x.new_full(experts.shape, moe.routed_scale / moe.k)
        size = moe.experts // moe.prototypes
        logits = F.linear(x.float(), self.weight.float()).view(-1, moe.prototypes, size)
        if moe.scores == "sigmoid":
            scores = logits.sigmoid()
        else:
            scores = logits.softmax(-1) if moe.softmax == "before" else logits
        preferred = scores if self.bias is None else scores + self.bias.float()
        experts = self.within_best_groups(preferred).topk(moe.k, dim=-1).indices
        gates = scores.gather(-1, experts)
        if moe.softmax == "after":
            gates = gates.softmax(-1)
        if moe.renormalize:
            gates = gates / gates.sum(-1, keepdim=True)
        first = torch.arange(moe.prototypes, device=x.device)[:, None] * size
        return (experts + first).flatten(1), (gates * moe.routed_scale).flatten(1).to(x.dtype)

    def within_best_groups(self, scores):
        """Scores with those of experts outside a token's best groups at -inf (DeepSeek-V2, V3)."""
        moe = self.moe
        if moe.groups_per_token == moe.expert_groups:
            return scores
        grouped = scores.view(-1, moe.expert_groups, moe.experts // moe.expert_groups)
        of_group = grouped.topk(1 if moe.group_score == "max" else 2, dim=-1).values.sum(-1)
        best = of_group.topk(moe.groups_per_token, dim=-1).indices
        is_best = torch.zeros_like(of_group, dtype=torch.bool).scatter(-1, best, True)
        return grouped.masked_fill(~is_best[..., None], -math.inf).view_as(scores)


class Mixture(nn.Module):
    """The sum over the experts of a token: gate · expert(x)."""

    def __init__(self, width, out, config, expert):
        super().__init__()
        self.out = out
        self.router = Router(width, config)
        self.experts = nn.ModuleList(expert() for _ in range(config.moe["experts"]))

    def forward(self, x, ids):
        rows = x.reshape(-1, x.shape[-1])
        experts, gates = self.router(rows, ids)
        result = rows.new_zeros(rows.shape[0], self.out)
        for number, expert in enumerate(self.experts):
            token, choice = torch.where(experts == number)
            if token.numel() > 0:
                result.index_add_(0, token, expert(rows[token]) * gates[token, choice, None])
        return result.view(*x.shape[:-1], self.out)


class SparseFeedForward(Mixture):
    """A mixture of feed-forward networks, beside a shared one if there is one."""

    def __init__(self, config):
        width, moe = config.hidden_size, config.moe
        super().__init__(width, width, config, lambda: FeedForward(width, moe["hidden"], config))
        self.shared = FeedForward(width, moe["shared_hidden"], config) if moe["shared_hidden"] > 0 else None
        self.mix = nn.Linear(width, 1, bias=False) if moe["shared_gate"] else None

    def forward(self, x, ids):
        y = super().forward(x, ids)
        if self.shared is None:
            return y
        shared = self.shared(x)
        return y + (shared if self.mix is None else shared * self.mix(x).sigmoid())


class Attention(nn.Module):
    """Causal attention; heads of queries in groups share heads of keys and values."""

    def __init__(self, config, layer):
        super().__init__()
        self.layer, self.config = layer, config
        self.queries = config.num_attention_heads * config.head_dim
        self.keys = config.num_key_value_heads * config.head_dim
        self.qkv = self.projection("qkv", config.hidden_size, self.queries + 2 * self.keys)
        self.output = self.projection("output", self.queries, config.hidden_size)
        self.query_norm = self.key_norm = None
        if config.query_key_norm != "none":
            by_head = config.query_key_norm == "head"
            self.query_norm = Norm(config.head_dim if by_head else self.queries, config, "rms")
            self.key_norm = Norm(config.head_dim if by_head else self.keys, config, "rms")

    def projection(self, module, rows, columns):
        config = self.config
        if self.layer in config.sparse_layers and module in config.moe["attention"]:
            return Mixture(rows, columns, config, lambda: nn.Linear(rows, columns, bias=False))
        return nn.Linear(rows, columns, bias=config.attention_bias in ("all", module))

    def forward(self, x, ids, angles, visible, cache):
        config, (B, S, _) = self.config, x.shape
        qkv = self.qkv(x, ids) if isinstance(self.qkv, Mixture) else self.qkv(x)
        q, k, v = qkv.split([self.queries, self.keys, self.keys], -1)
        q, k = self.normed(q, self.query_norm), self.normed(k, self.key_norm)
        v = v.view(B, S, -1, config.head_dim).transpose(1, 2)
        if angles is not None:
            q, k = rotated(q, angles), rotated(k, angles)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        shared = config.num_attention_heads // config.num_key_value_heads
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        scores = (q @ k.transpose(-1, -2)).float() * config.attention_scale
        weights = scores.masked_fill(~visible, -1e30).softmax(-1).to(v.dtype)
        y = (weights @ v).transpose(1, 2).reshape(B, S, self.queries)
        return self.output(y, ids) if isinstance(self.output, Mixture) else self.output(y)

    def normed(self, x, norm):
        """[B, heads, S, d], after the norm of the layer over all heads together or over each."""
        by_head = lambda rows: rows.view(*rows.shape[:2], -1, self.config.head_dim)
        if norm is None:
            x = by_head(x)
        else:
            x = norm(by_head(x)) if self.config.query_key_norm == "head" else by_head(norm(x))
        return x.transpose(1, 2)


def rotated(x, angles):
    """Rotates pairs (x[i], x[i + d/2]) of every head."""
    cos, sin = (each.to(x.dtype) for each in angles)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Layer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        width = config.hidden_size
        self.scale = config.residual_scale
        self.attention_norm = Norm(width, config)
        self.attention = Attention(config, layer)
        self.ffn_norm = Norm(width, config)
        is_sparse = layer in config.sparse_layers
        self.ffn = SparseFeedForward(config) if is_sparse else FeedForward(width, config.intermediate_size, config)

    def forward(self, x, ids, *context):
        x = x + self.scale * self.attention(self.attention_norm(x), ids, *context)
        normed = self.ffn_norm(x)
        return x + self.scale * (self.ffn(normed, ids) if isinstance(self.ffn, Mixture) else self.ffn(normed))


class Decoder(nn.Module):
    """Everything up to the head."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = None
        if config.positions == "learned":
            self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = Norm(config.hidden_size, config)

    def forward(self, ids, mask=None, positions=None, cache=None):
        """ids [B, S]; mask [B, past + S], 0 for padding; positions [B, S]."""
        config, (B, S) = self.config, ids.shape
        past = 0 if cache is None else cache.get_seq_length()
        query = torch.arange(past, past + S, device=ids.device)[:, None]
        key = torch.arange(past + S, device=ids.device)
        if positions is None:
            positions = query[None, :, 0].expand(B, S)
        is_text = torch.ones(B, past + S, device=ids.device) if mask is None else mask
        causal = (key <= query) & (is_text[:, None, None, :] > 0)
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions(positions)
        x = x * config.embedding_scale
        angles = self.angles(positions) if config.positions == "rotary" else None
        for layer, window in zip(self.layers, config.attention_windows):
            visible = causal if window is None else causal & (key > query - window)
            x = layer(x, ids, angles, visible, cache)
        return self.norm(x) * config.head_scale

    def angles(self, positions):
        """cos and sin of the angles of each position [B, 1, S, d/2]."""
        frequencies = torch.tensor(self.config.rotary_frequencies, dtype=torch.float64, device=positions.device)
        angles = positions[:, None, :, None].double() * frequencies
        return [(self.config.rotary_scale * each).float() for each in (angles.cos(), angles.sin())]


class Choir(nn.Module):
    """The model without transformers: ids [B, S] to logits [B, S, V]."""

    def __init__(self, config):
        super().__init__()
        self.model = Decoder(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.head.weight = self.model.embedding.weight

    def forward(self, ids):
        return self.head(self.model(ids))


if PreTrainedModel is not None:

    class ChoirForCausalLM(PreTrainedModel, GenerationMixin):
        config_class = ChoirConfig
        base_model_prefix = "model"
        _no_split_modules = ["Layer"]
        _tied_weights_keys = {"head.weight": "model.embedding.weight"}

        def __init__(self, config):
            super().__init__(config)
            self.model = Decoder(config)
            self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            self.post_init()

        def get_input_embeddings(self):
            return self.model.embedding

        def set_input_embeddings(self, embedding):
            self.model.embedding = embedding

        def get_output_embeddings(self):
            return self.head

        def set_output_embeddings(self, head):
            self.head = head

        def forward(
            self,
            input_ids,
            attention_mask=None,
            position_ids=None,
            past_key_values=None,
            labels=None,
            use_cache=None,
            **_,
        ):
            if use_cache and past_key_values is None:
                past_key_values = DynamicCache()
            x = self.model(input_ids, attention_mask, position_ids, past_key_values)
            logits = self.head(x)
            loss = None
            if labels is not None:
                loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
            return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)


DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32}


def read_safetensors(path):
    """Tensors of a file by name."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensor = torch.frombuffer(data, dtype=DTYPES[entry["dtype"]], offset=begin, count=math.prod(entry["shape"]))
        yield name, tensor.view(entry["shape"])


def load(folder):
    """The model of a folder, in float32."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = SimpleNamespace(**json.load(file))
    model = Choir(config)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))
    tensors = {}
    for name in names:
        tensors.update(read_safetensors(os.path.join(folder, name)))
    if config.tie_word_embeddings:
        tensors["head.weight"] = tensors["model.embedding.weight"]
    model.load_state_dict(tensors)
    return model.float().eval()


def main(arguments):
    if len(arguments) != 3 or arguments[1] != "--tokens":
        sys.exit("usage: python3 modeling_choir.py FOLDER --tokens 1,2,3")
    tokens = [int(token) for token in arguments[2].split(",")]
    with torch.no_grad():
        print(json.dumps(load(arguments[0])(torch.tensor([tokens]))[0].tolist()))


if __name__ == "__main__":
    main(sys.argv[1:])
