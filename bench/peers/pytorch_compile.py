"""torch.compile where it makes vector code, or code for a GPU by Triton, and nothing where it does not.

Inductor makes scalar code, slower than plain operators, when it can not build against PyTorch's vector
math. So it needs a C++ compiler, and with Debian's PyTorch also the packages libtorch-dev and
libsleef-dev, and the latter's library preloaded (pytorch.ts does that), as libtorch does not pass its
symbols on.
"""

import os
import sys

import torch

from pytorch_device import DEVICE


def can_compile():
    """False too where PyTorch's own switch, TORCHDYNAMO_DISABLE=1, turns compilation off."""
    if os.environ.get('TORCHDYNAMO_DISABLE') == '1':
        return False
    try:
        if DEVICE != 'cpu':
            from torch.utils._triton import has_triton
            return has_triton()
        from torch._inductor.cpu_vec_isa import pick_vec_isa
        return bool(pick_vec_isa())
    except Exception:  # these modules are PyTorch's own business and may move
        return False


COMPILED = can_compile()


def use_threads(threads):
    """Compiled code has its number of threads built in, and PyTorch's cache of it does not look at it
    unless it is said here."""
    if COMPILED and DEVICE == 'cpu':
        torch._inductor.config.cpp.threads = threads


def compile_correctly():
    """g++ 12 at -O3 miscompiles the transposition of 32 x 32 bfloat16 numbers in inductor's code (wrong numbers
    and NaN) unless told to leave straight-line code alone. That code is made of vector instructions already."""
    from torch._inductor import cpp_builder
    flags_for = getattr(cpp_builder, '_get_optimization_cflags', None)  # private, and may move or change

    def careful_flags_for(*args, **more):
        flags = flags_for(*args, **more)
        return [*flags, 'fno-tree-slp-vectorize'] if isinstance(flags, list) else flags

    if flags_for and sys.platform != 'win32':
        cpp_builder._get_optimization_cflags = careful_flags_for


if COMPILED and DEVICE == 'cpu':
    compile_correctly()


def fused(function):
    return torch.compile(function) if COMPILED else function
