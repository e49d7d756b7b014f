"""The peer on several ranks over Gloo: the batch divided as by DistributedDataParallel, experts shared by all-to-all.

Gradients of parameters that all ranks hold lie in buckets of 25 MB (the first of 1 MB), in reverse order of the model,
and a bucket is summed by an all-reduce as soon as its last gradient is written, while the backward pass goes on.
DistributedDataParallel does the same, but copies gradients into buckets; and here the mean over ranks is part of
AdamW's own gradient scale. With `--expert 2` two ranks share the experts of every layer; rows travel by
all_to_all_single.

    mpirun -n 2 python3 pytorch_ranks.py SOCKET --expert 2 [flags of pytorch_moe.py]

The program connects to a Unix socket, on which it reads {"run": steps} and answers, as bench/training/distributed/world.ts
expects.
"""

import argparse
import json
import os
import resource
import socket

import torch
import torch.distributed as dist
import torch.nn.functional as functional
from torch.autograd import Function

from pytorch_model import Model, Trainer
from pytorch_moe import blas_in_use
from pytorch_operators import product

FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20  # bytes, DistributedDataParallel's defaults


def exchange(rows, sent, received):
    """Sends rows to all ranks, `sent[q]` of them to rank q. Returns the rows that arrive, one block per rank."""
    result = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(result, rows, received, sent)
    return result


class SharedExperts(Function):
    """`Experts` where a rank has a share of the experts. Rows are sorted by expert and thereby by rank. Rows that
    arrive are in blocks by source and expert, and the blocks of an expert are put together."""

    @staticmethod
    def forward(ctx, x_TD, gate_TK, up, down, plan):
        size = dist.get_world_size()
        counts = torch.tensor(plan.counts)
        arriving = torch.empty_like(counts)
        dist.all_to_all_single(arriving, counts)
        sent, received = (c.view(size, -1).sum(1).tolist() for c in (counts, arriving))
        blocks = arriving.tolist()  # by source, then expert
        x_RD = x_TD.index_select(0, plan.token_R)
        inputs = by_expert(exchange(x_RD, sent, received), blocks, len(up))
        inner = [product(x, up[e]) if len(x) else None for e, x in enumerate(inputs)]
        hidden = [None if a is None else functional.gelu(a) for a in inner]
        outer = [inputs[e] if h is None else product(h, down[e]) for e, h in enumerate(hidden)]
        y_RD = torch.cat([exchange(by_source(outer, blocks, size), received, sent), x_TD.new_zeros(1, x_TD.shape[1])])
        ctx.saved = (inputs, y_RD, gate_TK, inner, hidden, up, down, plan, blocks, sent, received)
        return plan.combine(y_RD, gate_TK)

    @staticmethod
    def backward(ctx, g_TD):
        inputs, y_RD, gate_TK, inner, hidden, up, down, plan, blocks, sent, received = ctx.saved
        g_RD = g_TD.index_select(0, plan.token_R)
        gate_A = gate_TK.new_zeros(gate_TK.numel())
        gate_A[plan.assignment_R] = torch.linalg.vecdot(g_RD, y_RD[:-1])
        g_RD.mul_(gate_TK.t().reshape(-1)[plan.assignment_R].unsqueeze(1))
        outer = []
        for e, g_CD in enumerate(by_expert(exchange(g_RD, sent, received), blocks, len(up))):
            if len(g_CD) == 0:
                up.grad[e].zero_()
                down.grad[e].zero_()
                outer.append(g_CD)
                continue
            torch.mm(hidden[e].t(), g_CD, out=down.grad[e])
            a_CF = torch.ops.aten.gelu_backward(product(g_CD, down[e].t()), inner[e])
            inner[e] = hidden[e] = None
            torch.mm(inputs[e].t(), a_CF, out=up.grad[e])
            outer.append(product(a_CF, up[e].t()))
        back = exchange(by_source(outer, blocks, len(sent)), received, sent)
        x_TD = plan.combine(torch.cat([back, g_TD.new_zeros(1, g_TD.shape[1])]), None)
        return x_TD, gate_A.view(plan.slot_TK.shape[1], -1).t(), None, None, None


def by_expert(rows, blocks, experts):
    parts = rows.split(blocks)
    return [torch.cat(parts[e::experts]) for e in range(experts)]


def by_source(rows_of_expert, blocks, size):
    experts = len(rows_of_expert)
    parts = [rows.split(blocks[e::experts]) for e, rows in enumerate(rows_of_expert)]
    return torch.cat([parts[e][source] for source in range(size) for e in range(experts)])


class RanksModel(Model):
    """The model of a rank; `shape.batch` is its part of the batch."""

    def __init__(self, shape, expert):
        self.expert = expert
        super().__init__(shape)

    def initial(self, parameters, dtype, generator):
        for name, value in super().initial(parameters, dtype, generator):
            yield name, self.held(value) if self.is_shared(name) else value

    def is_shared(self, name):
        return self.expert > 1 and '.experts.' in name

    def held(self, value_NXX):
        return value_NXX.chunk(self.expert)[dist.get_rank() % self.expert].clone()

    def prepare(self, values):
        super().prepare(values)
        self.open, self.bucket_of = [], {}
        names, size, limit = [], 0, FIRST_BUCKET
        reduced = [name for name in reversed(self.parameters) if not self.is_shared(name)]
        for name in reduced:
            names.append(name)
            size += 4 * self.parameters[name].numel()
            if size >= limit or name == reduced[-1]:
                Bucket(self, names)
                names, size, limit = [], 0, BUCKET

    def written(self, value, *names):
        value.grad_fn.register_hook(lambda *_: self.reduce(names))
        return value

    def reduce(self, names):
        for name in names:
            if name in self.bucket_of:
                self.bucket_of[name].written()

    def experts(self, x_TD, gate_TK, plan, at):
        p = self.parameters
        if self.expert == 1:
            return self.written(super().experts(x_TD, gate_TK, plan, at), at + 'up', at + 'down')
        return SharedExperts.apply(x_TD, gate_TK, p[at + 'up'], p[at + 'down'], plan)


class Bucket:
    """Gradients, one after the other in memory, that are summed over ranks at once."""

    def __init__(self, model, names):
        self.open, self.names, self.left = model.open, names, len(names)
        values = [model.parameters[name] for name in names]
        self.flat = torch.zeros(sum(value.numel() for value in values))
        for name, value, part in zip(names, values, self.flat.split([value.numel() for value in values])):
            value.grad = part.view_as(value)
            model.bucket_of[name] = self

    def written(self):
        self.left -= 1
        if self.left == 0:
            self.left = len(self.names)
            self.open.append(dist.all_reduce(self.flat, async_op=True))


class RanksTrainer(Trainer):
    def batch(self):
        """The sequences of this rank. Every rank draws the whole batch and takes its part."""
        s, size = self.model.shape, dist.get_world_size()
        data = torch.randint(s.vocabulary, (s.batch * size, s.sequence + 1), generator=self.generator)
        return data.chunk(size)[dist.get_rank()]

    def update(self):
        model, size = self.model, dist.get_world_size()
        for work in model.open:
            work.wait()
        model.open.clear()
        square = {True: torch.zeros(()), False: torch.zeros(())}
        for name, value in model.parameters.items():
            square[model.is_shared(name)] += torch.dot(value.grad.view(-1), value.grad.view(-1))
        if model.expert > 1:
            dist.all_reduce(square[True])
        norm = (square[True] + square[False]).sqrt_() / size
        self.norm = float(norm)
        self.optimizer.grad_scale = norm.clamp(min=1.0) * size
        self.optimizer.step()


def link_bytes():
    with open('/proc/net/dev') as file:
        fields = [line.split(':')[1].split() for line in file if line.strip().startswith('eth0:')]
    return sum(int(f[0]) + int(f[8]) for f in fields)


def run(trainer, steps):
    before = link_bytes()
    dist.barrier()
    results = []
    for _ in range(steps):
        ms, gradient, update, parts = trainer.step()
        loss = parts['loss'].clone()
        dist.all_reduce(loss)
        results.append({'ms': ms, 'gradientMs': gradient, 'updateMs': update, 'keptShare': parts['keptShare'],
                        'loss': float(loss) / dist.get_world_size(), 'gradNorm': trainer.norm})
    return {'steps': results, 'sentBytes': 0, 'receivedBytes': 0, 'orders': 0, 'stateBytes': 0,
            'linkBytes': (link_bytes() - before) / steps,
            'peakBytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('socket')
    for name in ('layers', 'width', 'heads', 'experts', 'hidden', 'vocabulary', 'sequence', 'batch', 'expert'):
        parser.add_argument(f'--{name}', type=int, required=True)
    shape = parser.parse_args()
    shape.variant, shape.balanced, shape.precision = 'top1', True, 'float32'
    rank, size = (int(os.environ.get(f'OMPI_COMM_WORLD_{name}') or os.environ[f'PMI_{name}']) for name in ('RANK', 'SIZE'))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{shape.socket}.ranks', rank=rank, world_size=size)
    shape.batch //= size
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    trainer = RanksTrainer(RanksModel(shape, shape.expert))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(shape.socket)
        lines = connection.makefile('rw')

        def send(message):
            lines.write(json.dumps(message) + '\n')
            lines.flush()

        send({'rank': rank, 'torch': torch.__version__, 'libraries': blas_in_use(), 'mkl': torch.backends.mkl.is_available(),
              'threads': torch.get_num_threads(), 'compiled': False})
        for line in lines:
            send(run(trainer, json.loads(line)['run']))
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
