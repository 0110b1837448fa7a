"""Trains the same network as bench-trainer in PyTorch and says how many patches a second it does.

usage: train_pytorch.py FOLDER [SECONDS] [options]    FOLDER holds promptir.py, the reference network

Whole steps (forward, L1 loss, backward, AdamW) on noise, crop 64; on the processor with two threads, on a GPU in
float32, with TF32 products, or in bf16 by autocast, and compiled if asked.
"""
import argparse
import resource
import sys
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("folder")
arguments.add_argument("seconds", nargs="?", type=float, default=20)
arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
arguments.add_argument("--precision", choices=["float32", "tf32", "bf16"], default="float32")
arguments.add_argument("--batch", type=int, default=8)
arguments.add_argument("--compile", action="store_true")
arguments.add_argument("--paper", action="store_true", help="the paper's network")
options = arguments.parse_args()
sys.path.insert(0, options.folder)
import torch
from promptir import PromptIR

AIM = dict(dim=16, blocks=[2, 2, 3, 4], refinement=2, heads=[1, 2, 4, 8], ffn=2.66, prompt_len=5,
           prompt_dims=[16, 32, 96], prompt_sizes=[64, 32, 16])
PAPER = dict(dim=48, blocks=[4, 6, 6, 8], refinement=4, heads=[1, 2, 4, 8], ffn=2.66, prompt_len=5,
             prompt_dims=[64, 128, 320], prompt_sizes=[64, 32, 16])
CROP, WARM_UP = 64, 5


def main():
    cuda = options.device == "cuda"
    torch.set_num_threads(2)
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision != "float32"
    torch.backends.cudnn.benchmark = True
    network = PromptIR(PAPER if options.paper else AIM).to(options.device)
    run = torch.compile(network) if options.compile else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4, fused=cuda)
    noisy, clean = torch.rand(2, options.batch, 3, CROP, CROP).to(options.device)

    def step():
        with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = (run(noisy) - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def wait():
        if cuda:
            torch.cuda.synchronize()

    for _ in range(WARM_UP if cuda else 1):
        step()
    wait()
    start, processor, steps = time.monotonic(), time.process_time(), 0
    while time.monotonic() - start < options.seconds:
        for _ in range(10 if cuda else 1):  # without waiting in between
            step()
            steps += 1
        wait()
    seconds, processor = time.monotonic() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    where = torch.cuda.get_device_name() if cuda else "2 threads"
    compiled = ", compiled" if options.compile else ""
    print(f"PyTorch {torch.__version__}, {where}, {options.precision}{compiled}, batch {options.batch}: "
          f"{steps * options.batch / seconds:.2f} patches/s, {steps * options.batch / processor:.2f} a processor "
          f"second, {peak} MiB of the machine's memory at most")


if __name__ == "__main__":
    main()
