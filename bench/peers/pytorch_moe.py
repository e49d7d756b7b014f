"""The peer: Choir's sparse expert model, trained or generating on the CPU as fast as PyTorch goes.

Think of it as a fair opponent. It has the same shapes, routing and capacity rules, losses and
optimizer as Choir; every tensor operation is a PyTorch operator. This file is the process around the
model. The model and its training step are in pytorch_model.py, generation in pytorch_generate.py.

A benchmark keeps this process alive and alternates with it. Each line of standard input is a JSON
command ({"run": 5}, or {"generate": 64, "prompt": 32}), and each line of standard output is the JSON
answer to one. Nothing else is printed there.
"""

import argparse
import json
import math
import os
import sys
import time

import torch

from pytorch_device import DEVICE, NAME, OPTIONS
from pytorch_model import VARIANTS, Model, Trainer
from pytorch_operators import ONEDNN


def blas_in_use():
    """The linear algebra libraries that this process has really loaded; only Linux lists them."""
    try:
        with open('/proc/self/maps') as maps:
            paths = {line.split()[-1] for line in maps if '/' in line}
    except OSError:
        return ['unknown']
    return sorted(path for path in paths if any(word in path for word in ('blas', 'dnnl', 'mkl', 'gomp', 'libomp')))


def peak_mib():
    """Peak resident memory of this process, MiB (None on Windows)."""
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
    model, respond, compiled = prepare(shape)
    answer({'ready': True, 'torch': torch.__version__, 'threads': torch.get_num_threads(), 'onednn': ONEDNN,
            'precision': shape.precision, 'compiled': compiled, 'libraries': blas_in_use(), 'mkl': torch.backends.mkl.is_available(),
            'parameters': sum(math.prod(size) for size, _ in model.sizes().values()), 'balanced': shape.balanced,
            'device': NAME})
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            answer({**respond(json.loads(line)), 'peakMiB': peak_mib()})
        except (ValueError, KeyError, TypeError) as error:
            form = '{"generate": tokens, "prompt": tokens or ids}' if shape.generate else '{"run": steps}'
            answer({'error': f'{type(error).__name__}: {error}; expected {form}'})


def prepare(shape):
    """The model, the function that answers a command, and whether compiled code is in use. Files are imported
    only when they are needed: a compiler in the process costs seconds and memory, and plain float32 training
    needs none."""
    if DEVICE != 'cpu':
        raise ValueError(f'--device {DEVICE}: these models are for the CPU; pytorch_autocast.py has one for a GPU')
    if shape.precision == 'float32' and not shape.generate:
        trainer = Trainer(Model(shape))
        return trainer.model, lambda command: trained(trainer, command), False
    from pytorch_compile import COMPILED, use_threads
    use_threads(torch.get_num_threads())
    if shape.generate:
        from pytorch_generate import Generator
        generator = Generator(shape, torch.bfloat16 if shape.precision == 'bf16' else torch.float32)
        return generator.model, lambda command: generated(generator, command), COMPILED
    from pytorch_bf16 import Bf16Model, Bf16Trainer
    trainer = Bf16Trainer(Bf16Model(shape))
    return trainer.model, lambda command: trained(trainer, command), COMPILED


def whole(command, field, least):
    value = command[field]
    if type(value) is not int or value < least:
        raise ValueError(f'{field}: {value!r} (expected a whole number, at least {least})')
    return value


def trained(trainer, command):
    steps, shape = whole(command, 'run', 1), trainer.model.shape
    results = [trainer.step() for _ in range(steps)]
    loss = float(results[-1][3]['loss'])
    return {
        'stepMs': [r[0] for r in results],
        'gradientMs': [r[1] for r in results],
        'updateMs': [r[2] for r in results],
        'tokens': steps * shape.batch * shape.sequence,
        'keptShare': sum(r[3]['keptShare'] for r in results) / steps,
        'loss': loss if math.isfinite(loss) else None,  # JSON has no NaN
    }


def generated(generator, command):
    count, prompt, vocabulary = whole(command, 'generate', 2), command['prompt'], generator.shape.vocabulary
    if not isinstance(prompt, list):
        size = (whole(command, 'prompt', 1),)
        prompt = torch.randint(vocabulary, size, generator=torch.Generator().manual_seed(1)).tolist()
    if not prompt or not all(type(token) is int and 0 <= token < vocabulary for token in prompt):
        raise ValueError(f'prompt: expected ids from 0 to {vocabulary - 1}, at least one')
    tokens, prefill, times = generator.generate(prompt, count)
    return {'tokensPerSecond': 1e3 * len(times) / sum(times), 'prefillMs': prefill, 'msPerToken': times,
            'tokens': tokens}


def check(path, shape):
    """Losses of given float64 parameters on given tokens, and the gradient against a central difference.

    The file contains {"tokens": [B][S + 1] integers, "parameters": {name: numbers, nested or flat}}.
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
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0], parents=[OPTIONS])
    for name, default in (('layers', 4), ('width', 256), ('heads', 4), ('experts', 16), ('hidden', 1024),
                          ('vocabulary', 4096), ('sequence', 256), ('batch', 16)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--variant', choices=VARIANTS, help='default: top1; with --check: each in turn')
    parser.add_argument('--precision', choices=('float32', 'bf16'), default='float32')
    parser.add_argument('--threads', type=int, default=int(os.environ.get('OMP_NUM_THREADS', 0)) or None)
    parser.add_argument('--generate', action='store_true', help='generate instead of training')
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
