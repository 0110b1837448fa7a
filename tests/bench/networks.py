"""The networks that tests/bench/peers compares engines on. Runs where PyTorch, safetensors and onnx are:

    networks.py random PERCENT WEIGHTS     the paper's network as a safetensors state dict, with random values of
                                           which PERCENT of each prunable tensor is removed at random
    networks.py export WEIGHTS SIZE FOLDER a weights file of ours (core/weights/FORMAT.md), for the other engines:
                                           state.pt (PyTorch), network.onnx for images of SIZE x SIZE pixels, and
                                           conv1.npz with the 1x1 convolutions and the sizes that they run at
    networks.py image SIZE FILE            a random image, raw float32 [3, SIZE, SIZE]
"""
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import reference  # noqa: E402, F401
from promptir import PAPER, PromptIR  # noqa: E402


def random_network(percent, path):
    torch.manual_seed(1)
    state = PromptIR(PAPER).state_dict()
    for name, value in state.items():
        if "weight" in name and value.dim() == 4 and value.shape[1] > 1:
            removed = torch.randperm(value.numel())[:value.numel() * percent // 100]
            value.view(-1)[removed] = 0
    save_file(state, path, metadata={"config": json.dumps(PAPER)})


def read_state(path):
    """The configuration and the dense float32 state dict of a weights file of ours."""
    with safe_open(path, "numpy") as file:
        config = json.loads(file.metadata()["config"])
        stored = {name: file.get_tensor(name) for name in file.keys()}
    state = {name: torch.empty_like(value) for name, value in PromptIR(config).state_dict().items()}
    for name, value in state.items():
        rows = value.shape[0]
        if name in stored:
            dense = stored[name].astype(np.float32).reshape(rows, -1)
        else:
            dense = np.zeros((rows, value[0].numel()), np.float32)
            starts = stored[name + ".rows"].astype(np.int64)
            row = np.repeat(np.arange(rows), np.diff(starts))
            dense[row, stored[name + ".columns"]] = stored[name + ".values"]
        if name + ".scales" in stored:
            dense *= stored[name + ".scales"][:, None]
        value.copy_(torch.from_numpy(dense).reshape(value.shape))
    return config, state


def conv1_sizes(network, image):
    """{name: (height, width)} that each 1x1 convolution runs at."""
    sizes = {}
    hooks = [module.register_forward_hook(lambda m, i, o, name=name: sizes.__setitem__(name, o.shape[-2:]))
             for name, module in network.named_modules()
             if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1)]
    network(image)
    for hook in hooks:
        hook.remove()
    return sizes


def export(path, size, folder):
    config, state = read_state(path)
    network = PromptIR(config).eval()
    network.load_state_dict(state)
    image = torch.rand(1, 3, size, size)
    torch.save(dict(config=config, state=state), folder / "state.pt")
    with torch.inference_mode():
        torch.onnx.export(network, (image,), folder / "network.onnx", opset_version=17, dynamo=False,
                          input_names=["image"], output_names=["result"])
        sizes = conv1_sizes(network, image)
    arrays = {name: state[name + ".weight"].numpy()[:, :, 0, 0] for name in sizes}
    np.savez(folder / "conv1.npz", **arrays, **{name + ".size": np.array(s) for name, s in sizes.items()})


def main():
    task, *words = sys.argv[1:]
    if task == "random":
        random_network(int(words[0]), words[1])
    elif task == "export":
        export(words[0], int(words[1]), Path(words[2]))
    elif task == "image":
        np.random.default_rng(1).random((3, int(words[0]), int(words[0])), np.float32).tofile(words[1])
    else:
        sys.exit(__doc__)


main()
