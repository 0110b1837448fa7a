"""Writes the golden files that tests compare with: python3 make_golden.py OUTDIR

Needs torch, numpy and scikit-image (Debian: python3-torch python3-skimage). The files are
safetensors, float32 unless said; README.md lists what each holds.
"""
import json
import struct
import sys
import zlib

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from promptir import TINY, PromptIR


def save(path, tensors, **metadata):
    """The safetensors layout: a length, a JSON header, then the raw arrays."""
    header, blobs, at = {"__metadata__": {k: str(v) for k, v in metadata.items()}}, [], 0
    kinds = {"float32": "F32", "uint8": "U8", "int64": "I64"}
    for name, t in tensors.items():
        a = np.ascontiguousarray(t.detach().numpy() if torch.is_tensor(t) else t)
        header[name] = dict(dtype=kinds[str(a.dtype)], shape=list(a.shape), data_offsets=[at, at + a.nbytes])
        blobs.append(a.tobytes())
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def lively(net, seed):
    """Moves norms, temperatures and biases off their trivial initial values, so that tests see them."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "norm" in name or "temperature" in name or name.endswith("bias"):
                p.add_(torch.randn(p.shape, generator=g) * 0.2)
    return net


def forward(out):
    torch.manual_seed(1)
    net = lively(PromptIR(TINY), 1).eval()
    taps = {}
    for name in ("patch_embed", "encoder_level1", "down1_2", "encoder_level3", "latent", "prompt3", "noise_level3",
                 "up4_3", "decoder_level3", "prompt2", "prompt1", "decoder_level1", "refinement", "output"):
        net.get_submodule(name).register_forward_hook(lambda m, i, o, n=name: taps.__setitem__("tap." + n, o))
    image = torch.rand(1, 3, 40, 56)
    with torch.inference_mode():
        result = net(image)
    save(f"{out}/forward.safetensors", dict(input=image, result=result, **taps), config=json.dumps(TINY))
    with open(f"{out}/lightning.crc32", "w") as f:
        f.writelines(f"{zlib.crc32(v.numpy().tobytes()):08x} {k}\n" for k, v in net.state_dict().items())
    state = {"net." + k: v for k, v in net.state_dict().items()}
    for unused in ("chnl_reduce1", "reduce_noise_channel_1"):
        state[f"net.{unused}.weight"] = torch.rand(4, 4, 1, 1)
    state["net.output.weight"] = state["net.output.weight"].clone()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-4)
    torch.save({"epoch": 119, "global_step": 12345, "pytorch-lightning_version": "2.4.0", "state_dict": state,
                "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 120}}}},
                "callbacks": {}, "optimizer_states": [optimizer.state_dict()],
                "lr_schedulers": [{"base_lrs": [2e-4], "last_epoch": 119, "_step_count": 120}],
                "hparams_name": None, "half": torch.arange(6, dtype=torch.float16).reshape(2, 3).t()},
               f"{out}/lightning.ckpt")


def training(out):
    """One batch, its gradients, and the parameters after each of three AdamW steps on it."""
    torch.manual_seed(2)
    net = lively(PromptIR(TINY), 2)
    start = {"start." + k: v.detach().clone() for k, v in net.named_parameters()}
    clean = torch.rand(2, 3, 32, 32)
    noisy = (clean + torch.randn(clean.shape) * 0.1).clamp(0, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-4)
    tensors, losses = dict(start, clean=clean, noisy=noisy), []
    for step in range(3):
        loss = (net(noisy) - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            tensors.update({"grad." + k: v.grad.clone() for k, v in net.named_parameters()})
        optimizer.step()
    tensors.update({"after3." + k: v.detach().clone() for k, v in net.named_parameters()})
    save(f"{out}/training.safetensors", tensors, config=json.dumps(TINY), losses=json.dumps(losses))


def pruning(out):
    """Masks after rounds 1 and 2 (p = 20), both scopes, on random 'trained' values drawn for each round."""
    torch.manual_seed(3)
    net = PromptIR(TINY)
    weights = {k: v.detach() for k, v in net.named_parameters() if "weight" in k}
    tensors = {}
    rounds = [{k: v + torch.randn(v.shape) * 0.05 for k, v in weights.items()} for _ in range(2)]
    for r, trained in enumerate(rounds, 1):
        tensors.update({f"trained{r}.{k}": v for k, v in trained.items()})
    for scope in ("global", "layerwise"):
        mask = {k: np.ones(v.shape, np.uint8) for k, v in weights.items()}
        for r, trained in enumerate(rounds, 1):
            value = {k: v.numpy() * mask[k] for k, v in trained.items()}
            alive = np.abs(np.concatenate([v[v != 0] for v in value.values()]))
            for k, v in value.items():
                share = 10 if "output" in k else 20
                t = np.percentile(alive, 20) if scope == "global" else np.percentile(np.abs(v[v != 0]), share)
                mask[k] = np.where(np.abs(v) < t, 0, mask[k]).astype(np.uint8)
            tensors.update({f"{scope}{r}.{k}": m for k, m in mask.items()})
    save(f"{out}/pruning.safetensors", tensors, percent=20)


def metrics(out):
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:48, 0:64]
    clean = np.stack([(np.sin(x / (3 + c)) + np.cos(y / (5 - c))) / 4 + 0.5 for c in range(3)]).astype(np.float32)
    noisy = np.clip(clean + rng.standard_normal(clean.shape).astype(np.float32) * 0.08, 0, 1)
    a, b = clean.transpose(1, 2, 0), noisy.transpose(1, 2, 0)
    save(f"{out}/metrics.safetensors", dict(clean=clean, noisy=noisy),
         psnr=peak_signal_noise_ratio(a, b, data_range=1),
         ssim=structural_similarity(a, b, data_range=1, channel_axis=-1))


if __name__ == "__main__":
    for part in (forward, training, pruning, metrics):
        part(sys.argv[1])
