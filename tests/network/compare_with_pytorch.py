"""Compares libmirl with the reference network in the paper's configuration (35.6 million parameters, random
weights, 256x256 pixels), dense and 90 % pruned:

    python3 compare_with_pytorch.py LIBMIRL.so [SIZE]

Needs torch and numpy. Run by hand: PyTorch is too large for the project's tests. Exits with 1 if the results
differ by more than 1e-4.
"""
import ctypes
import json
import os
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import reference  # noqa: E402, F401
from make_golden import save  # noqa: E402
from promptir import PAPER, PromptIR  # noqa: E402


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 512)]


class Image(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("width", ctypes.c_size_t), ("height", ctypes.c_size_t),
                ("channels", ctypes.c_int), ("pixel_stride", ctypes.c_ssize_t), ("row_stride", ctypes.c_ssize_t),
                ("channel_stride", ctypes.c_ssize_t)]


def restore(library, weights, image):
    """image: float32 [3, h, w]; the default options."""
    error = Error()
    library.mirl_model_open.restype = ctypes.c_void_p
    library.mirl_model_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(Error)]
    library.mirl_model_close.argtypes = [ctypes.c_void_p]
    library.mirl_restore.argtypes = [ctypes.c_void_p, ctypes.POINTER(Image), ctypes.POINTER(Image),
                                     ctypes.c_void_p, ctypes.POINTER(Error)]
    model = library.mirl_model_open(weights.encode(), ctypes.byref(error))
    if not model:
        sys.exit(error.message.decode())
    image = np.ascontiguousarray(image)
    result = np.empty_like(image)
    _, h, w = image.shape
    views = [Image(a.ctypes.data, w, h, 3, 1, w, h * w) for a in (image, result)]
    if library.mirl_restore(model, views[0], views[1], None, ctypes.byref(error)):
        sys.exit(error.message.decode())
    library.mirl_model_close(model)
    return result


def main():
    library = ctypes.CDLL(os.path.abspath(sys.argv[1]))
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    torch.manual_seed(1)
    net = PromptIR(PAPER).eval()
    image = torch.rand(1, 3, size, size)
    worst = 0
    for percent in (0, 90):
        with torch.inference_mode():
            for name, p in net.named_parameters():
                if p.dim() == 4 and p.shape[1] > 1 and percent:
                    p[torch.rand_like(p) < percent / 100] = 0
            expected = net(image)[0].numpy()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "paper.safetensors")
            save(path, net.state_dict(), config=json.dumps(PAPER))
            result = restore(library, path, image[0].numpy())
        difference = np.abs(result - expected).max()
        change = np.abs(expected - image[0].numpy()).max()
        print(f"{percent} % pruned: largest difference {difference:.2g}, largest correction {change:.2g}")
        worst = max(worst, difference)
    sys.exit(not worst <= 1e-4)


main()
