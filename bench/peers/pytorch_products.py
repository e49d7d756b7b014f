"""Times matrix products on the device of `--device`, as PyTorch computes them by itself: float32 without TF32.

Each line of standard input is a JSON command, {"count": 1, "m": 512, "n": 512, "k": 512, "precision": "float32"}: a
batch of `count` products of an m x k and a k x n matrix. Its answer is {"ms": 0.4}, the best of several measurements,
each the mean of products that are ordered together.
"""

import json
import sys
import time

import torch

from pytorch_device import DEVICE, NAME, synchronize

TYPES = {'float32': torch.float32, 'bf16': torch.bfloat16, 'f16': torch.float16}
TOGETHER_SECONDS, RUNS = 0.02, 5


def answer(message):
    print(json.dumps(message), flush=True)


def seconds(a, b, c, count):
    synchronize()
    start = time.perf_counter()
    for _ in range(count):
        torch.matmul(a, b, out=c)
    synchronize()
    return (time.perf_counter() - start) / count


def best(count, m, n, k, precision):
    batch = (count,) if count > 1 else ()
    a, b = (torch.rand(batch + size, device=DEVICE).sub_(0.5).to(TYPES[precision]) for size in ((m, k), (k, n)))
    c = torch.matmul(a, b)
    run = lambda count: seconds(a, b, c, count)
    run(1)
    together = max(1, round(TOGETHER_SECONDS / run(1)))
    return 1e3 * min(run(together) for _ in range(RUNS))


answer({'torch': torch.__version__, 'device': NAME})
for line in sys.stdin:
    answer({'ms': best(**json.loads(line))})
