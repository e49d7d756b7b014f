"""torch.compile where it makes vector code, and nothing where it does not.

Inductor makes scalar code, slower than plain operators, when it can not build against PyTorch's vector
math. So it needs a C++ compiler, and with Debian's PyTorch also the packages libtorch-dev and
libsleef-dev, and the latter's library preloaded (pytorch.ts does that), as libtorch does not pass its
symbols on.
"""

import os

import torch


def can_compile():
    """False too where PyTorch's own switch, TORCHDYNAMO_DISABLE=1, turns compilation off."""
    if os.environ.get('TORCHDYNAMO_DISABLE') == '1':
        return False
    try:
        from torch._inductor.cpu_vec_isa import pick_vec_isa
        return bool(pick_vec_isa())
    except Exception:  # the module is PyTorch's own business and may move
        return False


COMPILED = can_compile()


def use_threads(threads):
    """Compiled code has its number of threads built in, and PyTorch's cache of it does not look at it
    unless it is said here."""
    if COMPILED:
        torch._inductor.config.cpp.threads = threads


def fused(function):
    return torch.compile(function) if COMPILED else function
