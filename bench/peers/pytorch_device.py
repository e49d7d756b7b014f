"""The device of a peer: `--device cpu` (default), `cuda` or `mps`. The option is read on import of this file, because
functions are compiled for the device when their files are imported.
"""

import argparse

import torch

OPTIONS = argparse.ArgumentParser(add_help=False)
OPTIONS.add_argument('--device', choices=('cpu', 'cuda', 'mps'), default='cpu')
DEVICE = OPTIONS.parse_known_args()[0].device
if DEVICE != 'cpu' and not (torch.cuda if DEVICE == 'cuda' else torch.backends.mps).is_available():
    OPTIONS.error(f'--device {DEVICE}: PyTorch finds none')

torch.backends.cuda.matmul.allow_tf32 = False  # float32 is float32: some containers change the default
NAME = torch.cuda.get_device_name() if DEVICE == 'cuda' else DEVICE


def synchronize():
    """Waits until the device has done all ordered work; a CPU has already done it."""
    if DEVICE != 'cpu':
        getattr(torch, DEVICE).synchronize()
