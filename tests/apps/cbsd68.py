#!/usr/bin/env python3
"""PSNR of `mirl restore` on a folder of clean images with noise added, as MIR-L scores:

    cbsd68.py MIRL FOLDER [SIGMA...]            needs NumPy; SIGMA on the 0..255 scale, 15 25 50 if none

Images in name order are cropped at the centre to multiples of 16, N(0, sigma^2) is added, clipped and truncated
to 8 bits. The whole image is restored (--tile 0), the output clipped to 0..1 and not rounded.
Exits with 1 if a figure is further than 0.02 dB from that of the bundled weights' card.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CARD = {15: 32.110, 25: 29.613, 50: 26.175}


def read_ppm(path):
    fields = path.read_bytes().split(maxsplit=4)
    width, height, largest = map(int, fields[1:4])
    assert fields[0] == b"P6" and largest == 255
    pixels = path.read_bytes()[-width * height * 3:]
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def write_ppm(path, image):
    path.write_bytes(b"P6\n%d %d\n255\n" % (image.shape[1], image.shape[0]) + image.tobytes())


def read_pfm(path):
    kind, width, height, scale = path.read_bytes().split(maxsplit=4)[:4]
    assert kind == b"PF"
    width, height = int(width), int(height)
    order = "<f4" if float(scale) < 0 else ">f4"
    return np.frombuffer(path.read_bytes()[-width * height * 12:], order).reshape(height, width, 3)[::-1]


def psnr(a, b):
    return -10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2))


def main():
    program, folder = sys.argv[1], Path(sys.argv[2])
    sigmas = [int(text) for text in sys.argv[3:]] or list(CARD)
    wrong = False
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)

        def restore(source, target, *options):
            subprocess.run([program, "restore", str(source), "-o", str(target), *options], check=True)

        clean = []
        for path in sorted(folder.iterdir()):
            restore(path, work / "clean.ppm", "--strength", "0")
            image = read_ppm(work / "clean.ppm")
            top, left = image.shape[0] % 16 // 2, image.shape[1] % 16 // 2
            clean.append(image[top:top + image.shape[0] // 16 * 16, left:left + image.shape[1] // 16 * 16])
        for sigma in sigmas:
            random = np.random.default_rng(0)
            before, after = [], []
            for image in clean:
                noisy = np.clip(image + random.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)
                write_ppm(work / "noisy.ppm", noisy)
                restore(work / "noisy.ppm", work / "restored.pfm", "--tile", "0")
                before.append(psnr(noisy / 255, image / 255))
                after.append(psnr(np.clip(read_pfm(work / "restored.pfm"), 0, 1), image / 255))
            wrong |= sigma in CARD and not abs(np.mean(after) - CARD[sigma]) <= 0.02
            print(f"sigma {sigma}: {len(clean)} images, input {np.mean(before):.3f} dB, "
                  f"restored {np.mean(after):.3f} dB", flush=True)
    sys.exit(wrong)


main()
