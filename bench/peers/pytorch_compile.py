"""Applies torch.compile where it makes vector code, or code for a GPU with Triton, and nowhere else.

Inductor, its code generator, makes scalar code, slower than plain operators, when it cannot build
against PyTorch's vector math. So it needs a C++ compiler, and with Debian's PyTorch also the packages
libtorch-dev and libsleef-dev. The library of the latter must be preloaded (python.ts does that), as
libtorch does not pass its symbols on.
"""

import os
import sys

import torch

from pytorch_device import DEVICE


def can_compile():
    """Whether compiled code would be fast. Also False if PyTorch's own switch, TORCHDYNAMO_DISABLE=1, turns
    compilation off."""
    if os.environ.get('TORCHDYNAMO_DISABLE') == '1':
        return False
    try:
        if DEVICE != 'cpu':
            from torch.utils._triton import has_triton
            return has_triton()
        from torch._inductor.cpu_vec_isa import pick_vec_isa
        return bool(pick_vec_isa())
    except Exception:  # these modules are private to PyTorch and may move
        return False


COMPILED = can_compile()


def use_threads(threads):
    """Sets the number of threads of compiled code. It is built into the code, and PyTorch's cache of
    compiled code distinguishes it only if it is set here."""
    if COMPILED and DEVICE == 'cpu':
        torch._inductor.config.cpp.threads = threads


def compile_correctly():
    """Turns off a vectoriser of g++: at -O3, g++ 12 miscompiles the transposition of 32 x 32 bfloat16 numbers in
    inductor's code (wrong numbers and NaN) unless it leaves straight-line code alone. That code consists of
    vector instructions already."""
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
