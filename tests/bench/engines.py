"""The engines that tests/bench/peers compares mirl with, each described in one class, and how one is timed:

    engines.py ENGINE FOLDER IMAGE RESULT SIZE THREADS SECONDS

FOLDER is what networks.py exported, IMAGE and RESULT are raw float32 [3, SIZE, SIZE]. Measures and prints what
bench-restore does.
"""
import ctypes
import importlib
import json
import sys
import time
from pathlib import Path

MOST_RUNS = 9


class Engine:
    name = ""  # for people
    packages = []  # on PyPI
    module = ""  # what it is in Python
    version = ""  # if the module does not tell
    dense = True  # multiplies zeros, too
    slow = False  # too slow to be run where nothing but its zeros would differ
    avx2 = None  # the environment that keeps it to AVX2, if there is such a switch


class OnnxRuntime(Engine):
    name, packages, module = "ONNX Runtime", ["onnxruntime", "numpy"], "onnxruntime"

    def __init__(self, onnxruntime, folder, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(folder / "network.onnx", options,
                                                    providers=["CPUExecutionProvider"])

    def run(self, image):
        return self.session.run(None, {"image": image})[0]


class OpenVino(Engine):
    name, packages, module = "OpenVINO", ["openvino", "numpy"], "openvino"
    avx2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}

    def __init__(self, openvino, folder, threads):
        self.model = openvino.Core().compile_model(folder / "network.onnx", "CPU", {
            "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32"})  # or it would take bfloat16 where the processor has it

    def run(self, image):
        return self.model(image)[0]


class PyTorch(Engine):
    name, packages, module = "PyTorch", ["torch", "numpy", "onnx", "safetensors", "matplotlib"], "torch"
    slow = True
    avx2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}

    def __init__(self, torch, folder, threads):
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import reference  # noqa: F401
        from promptir import PromptIR
        self.torch = torch
        torch.set_num_threads(threads)
        saved = torch.load(folder / "state.pt")
        self.network = PromptIR(saved["config"]).eval()
        self.network.load_state_dict(saved["state"])

    def run(self, image):
        with self.torch.inference_mode():
            return self.network(self.torch.from_numpy(image)).numpy()


class PyTorchCompiled(PyTorch):
    name, avx2 = "PyTorch (compiled)", None

    def __init__(self, torch, folder, threads):
        super().__init__(torch, folder, threads)
        self.network = torch.compile(self.network)


class DeepSparse(Engine):
    # 1.9 holds nothing but a notice that the project has ended.
    name, packages, module = "DeepSparse", ["deepsparse==1.8.0"], "deepsparse"
    dense, avx2 = False, {"NM_ARCH": "avx2"}

    def __init__(self, deepsparse, folder, threads):
        self.engine = deepsparse.compile_model(str(folder / "network.onnx"), batch_size=1, num_cores=threads)

    def run(self, image):
        return self.engine.run([image])[0]


class XnnPack(Engine):
    """Nothing but the network's 1x1 convolutions, one after the other, by XNNPACK's sparse operator (NCHW) on random
    activations, of Debian 12's libxnnpack0: in that layout its graphs take neither this network's norms nor its
    attention. Each result is checked here, and `run` returns none."""
    name, packages, module, version = "XNNPACK (1x1 only)", ["numpy"], "numpy", "of Debian 12"
    dense = False

    def __init__(self, numpy, folder, threads):
        self.library, pool = ctypes.CDLL("libXNNPACK.so.0"), ctypes.CDLL("libpthreadpool.so.0")
        if hasattr(self.library, "xnn_reshape_convolution2d_nchw_f32"):
            raise RuntimeError("this XNNPACK's interface is newer than that of Debian 12, which is used here")
        pool.pthreadpool_create.restype = ctypes.c_void_p
        self.pool = ctypes.c_void_p(pool.pthreadpool_create(ctypes.c_size_t(threads)))
        self.check(self.library.xnn_initialize(None))
        arrays = numpy.load(folder / "conv1.npz")
        layers = [(arrays[name], arrays[name + ".size"]) for name in arrays.files if name + ".size" in arrays]
        most = max(max(weights.shape) * size.prod() for weights, size in layers)
        self.source = numpy.random.default_rng(1).random(most, numpy.float32)
        self.result = numpy.empty(most, numpy.float32)
        self.operators = [self.create(weights, *map(int, size)) for weights, size in layers]

    @staticmethod
    def check(status):
        if status:
            raise RuntimeError(f"XNNPACK's status {status}")

    def create(self, weights, height, width):
        size, single = ctypes.c_size_t, ctypes.c_float
        outputs, inputs = weights.shape
        operator = ctypes.c_void_p()
        channels = [size(n) for n in (inputs, outputs, inputs, outputs)]
        # No padding; kernel, stride and dilation 1x1; one group; no bias, no limits.
        self.check(self.library.xnn_create_convolution2d_nchw_f32(
            0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, *channels, ctypes.c_void_p(weights.ctypes.data), None,
            single(-float("inf")), single(float("inf")), 0, ctypes.byref(operator)))
        self.check(self.library.xnn_setup_convolution2d_nchw_f32(
            operator, size(1), size(height), size(width), ctypes.c_void_p(self.source.ctypes.data),
            ctypes.c_void_p(self.result.ctypes.data), self.pool))
        self.check(self.library.xnn_run_operator(operator, self.pool))
        source, result = (buffer[:n * height * width].reshape(n, -1)[:, -64:]
                          for buffer, n in ((self.source, inputs), (self.result, outputs)))
        difference = abs(weights @ source - result).max()
        if not difference <= 1e-3:
            raise RuntimeError(f"XNNPACK's result is off by {difference}")
        return operator

    def run(self, image):
        for operator in self.operators:
            self.check(self.library.xnn_run_operator(operator, self.pool))


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "pytorch": PyTorch, "compiled": PyTorchCompiled,
           "deepsparse": DeepSparse, "xnnpack": XnnPack}


def main():
    import numpy
    kind, folder, image, result = ENGINES[sys.argv[1]], *map(Path, sys.argv[2:5])
    size, threads, budget = int(sys.argv[5]), int(sys.argv[6]), float(sys.argv[7])
    image = numpy.fromfile(image, numpy.float32).reshape(1, 3, size, size)
    module = importlib.import_module(kind.module)
    begin = time.perf_counter()
    engine = kind(module, folder, threads)
    open_seconds = time.perf_counter() - begin
    restored = engine.run(image)
    seconds = []
    while len(seconds) < MOST_RUNS and sum(seconds) < budget:
        begin = time.perf_counter()
        restored = engine.run(image)
        seconds.append(time.perf_counter() - begin)
    if restored is not None:
        restored.tofile(result)
    version = kind.version or module.__version__.split("-")[0]
    print(json.dumps(dict(version=version, open_seconds=open_seconds, seconds=seconds)))


if __name__ == "__main__":
    main()
