"""Trains the same network as bench-trainer in PyTorch and says how many patches a second it does.

usage: train_pytorch.py FOLDER [SECONDS]    FOLDER holds promptir.py, the reference network

Whole steps (forward, L1 loss, backward, AdamW) on noise, batch 8, crop 64, two threads.
"""
import resource
import sys
import time

sys.path.insert(0, sys.argv[1])
import torch
from promptir import PromptIR

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 20
CONFIG = dict(dim=16, blocks=[2, 2, 3, 4], refinement=2, heads=[1, 2, 4, 8], ffn=2.66, prompt_len=5,
              prompt_dims=[16, 32, 96], prompt_sizes=[64, 32, 16])
BATCH, CROP = 8, 64


def main():
    torch.set_num_threads(2)
    torch.manual_seed(1)
    network = PromptIR(CONFIG)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4)
    noisy, clean = torch.rand(2, BATCH, 3, CROP, CROP)

    def step():
        loss = (network(noisy) - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    start, processor, steps = time.monotonic(), time.process_time(), 0
    while time.monotonic() - start < SECONDS:
        step()
        steps += 1
    seconds, processor = time.monotonic() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"PyTorch {torch.__version__}, 2 threads: {steps * BATCH / seconds:.2f} patches/s, "
          f"{steps * BATCH / processor:.2f} a processor second, {peak} MiB at most")


if __name__ == "__main__":
    main()
