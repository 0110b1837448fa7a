"""Makes the table and the plot of what tests/bench/peers measured: report.py FIGURES.json writes FIGURES.md and
FIGURES.svg and prints the table. Needs matplotlib.
"""
import json
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "mirl"  # the same file from the same figures
from matplotlib import pyplot, ticker  # noqa: E402

MIB = 2**20


class Figures:
    def __init__(self, report):
        self.report = report
        self.main = report["main"]
        self.engines, self.networks = report["engines"], report["networks"]

    def run(self, engine, network=None, isa="best", **other):
        """What was measured of mirl or an engine, by default on the main network; None if it was not."""
        wanted = dict(threads=self.report["threads"], size=self.report["size"], engine=engine,
                      network=network or self.main, isa=isa) | other
        return next((run for run in self.report["runs"] if all(run[k] == v for k, v in wanted.items())), None)

    def seconds(self, *of, **other):
        run = self.run(*of, **other)
        return run["median_seconds"] if run else None

    def fastest_dense(self, *where):
        times = {name: self.seconds(name, *where) for name, about in self.engines.items() if about.get("dense")}
        times = {name: time for name, time in times.items() if time}
        return min(times, key=times.get) if times else None

    def times_faster(self, engine, *where):
        """How many times as fast mirl is."""
        return ratio(self.seconds(engine, *where), self.seconds("mirl", *where)) if engine else None

    def share_of_limit(self, engine, network=None, isa="best"):
        """Of 1: the time for the multiply-adds that are left, at sgemm's rate, by the time that was taken."""
        network = network or self.main
        macs = self.networks[network]["macs_per_pixel"] * self.report["size"] ** 2
        rate = statistics.median(self.report["sgemm_macs_per_second"][isa])
        return ratio(macs / rate, self.seconds(engine, network, isa))


def ratio(a, b):
    return a / b if a and b else None


def show(value, form="{:.2f}", scale=1):
    return "" if value is None else form.format(value * scale)


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def label(figures, network):
    removed = figures.networks[network].get("removed")
    return network if removed is None else f"{removed} %"


def engines_table(figures, isa):
    rows = []
    for engine, about in figures.engines.items():
        run = figures.run(engine, isa=isa)
        if not run:
            continue
        whole = engine == "mirl" or "difference" in run
        rows.append([f"{about['name']} {about['version']}", show(run["median_seconds"]), len(run["seconds"]),
                     show(figures.times_faster(engine, None, isa), "{:.1f}"),
                     show(figures.share_of_limit(engine, None, isa) if whole else None, "{:.0f} %", 100),
                     show(run["peak_bytes"] if whole else None, "{:.0f}", 1 / MIB),
                     show(run["open_seconds"] if whole else None, "{:.0f}", 1000),
                     show(run.get("difference"), "{:.0e}")])
    return table(["", "time, s", "runs", "times mirl's", "share of the limit", "peak memory, MiB", "opening, ms",
                  "difference from mirl"], rows)


def networks_table(figures, isa):
    engines = [name for name in figures.engines if any(figures.run(name, n, isa) for n in figures.networks)]
    rows = []
    for network in figures.networks:
        fastest = figures.fastest_dense(network, isa)
        rows.append([label(figures, network), *(show(figures.seconds(name, network, isa)) for name in engines),
                     show(figures.times_faster(fastest, network, isa), "{:.1f}"),
                     show(figures.share_of_limit("mirl", network, isa), "{:.0f} %", 100)])
    return table(["removed", *(figures.engines[name]["name"] for name in engines), "fastest dense, times mirl's",
                  "mirl's share of the limit"], rows)


def aims_table(figures):
    main, fastest = figures.run("mirl"), figures.fastest_dense()
    rows = [
        [f"against the fastest dense engine ({figures.engines[fastest]['name']})" if fastest else "no dense engine",
         "6 times faster", "9 times", show(figures.times_faster(fastest), "{:.1f} times")],
        ["against the limit", "45 %", "70 %", show(figures.share_of_limit("mirl"), "{:.0f} %", 100)],
    ]
    for name in ("deepsparse", "xnnpack"):
        about = figures.engines.get(name)
        if about:
            rows.append([f"against {about['name']}", "faster", "twice as fast",
                         show(figures.times_faster(name), "{:.1f} times") or about.get("missing", "")])
    rows.append([f"peak memory at {figures.report['size']}x{figures.report['size']}", "200 MB", "100 MB",
                 show(main["peak_bytes"], "{:.0f} MB", 1e-6)])
    if "photo" in figures.report:
        rows.append(["a 24-megapixel photo, default budget, bundled weights", "1 GiB", "500 MiB",
                     show(figures.report["photo"]["peak_bytes"], "{:.0f} MiB", 1 / MIB)])
    if "random-0" in figures.networks:
        rows.append(["dense weights, against the fastest dense engine", "1 time", "1.3 times",
                     show(figures.times_faster(figures.fastest_dense("random-0"), "random-0"), "{:.2f} times")])
    rows.append(["opening", "60 ms", "20 ms", show(main["open_seconds"], "{:.0f} ms", 1000)])
    rows.append([f"{figures.report['threads']} threads against one", "1.85 times", "1.95",
                 show(ratio(figures.seconds("mirl", threads=1), figures.seconds("mirl")), "{:.2f} times")])
    large = [run for run in figures.report["runs"] if run["network"] == "bundled"]
    if large:
        costs = [run["median_seconds"] / run["size"] ** 2 for run in large]
        rows.append(["time a pixel, 0.25 to 16 megapixels, most by least", "1.10", "",
                     show(max(costs) / min(costs))])
    return table(["", "at least", "aim", "measured"], rows)


def large_table(figures):
    rows = [[f"{run['size']} x {run['size']}", show(run["median_seconds"]),
             show(run["median_seconds"] / run["size"] ** 2, "{:.2f}", 1e6), show(run["peak_bytes"], "{:.0f}", 1 / MIB)]
            for run in figures.report["runs"] if run["network"] == "bundled"]
    return table(["pixels", "time, s", "µs a pixel", "peak memory with the images, MiB"], rows) if rows else ""


def plot(figures, path):
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    random = {about["removed"]: network for network, about in figures.networks.items() if "removed" in about}
    for name, about in figures.engines.items():
        points = [(removed, figures.seconds(name, network)) for removed, network in sorted(random.items())]
        points = [point for point in points if point[1]]
        if points:
            line, = axes.plot(*zip(*points), marker="o", markersize=4, label=about["name"],
                              linewidth=2.5 if name == "mirl" else 1.2)
            if len(points) == 1 and about.get("dense"):  # it takes as long whatever was removed
                axes.axhline(points[0][1], linestyle=":", linewidth=1.2, color=line.get_color())
    axes.set_yscale("log")
    axes.set_xlabel("weights removed at random, % of each prunable tensor")
    axes.set_ylabel("time of an image, s")
    size, threads = figures.report["size"], figures.report["threads"]
    axes.set_title(f"PromptIR, {size} x {size}, {threads} threads, {figures.report['machine']}", fontsize=10)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(True, which="both", alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def text(figures, stem):
    report = figures.report
    rate = {isa: 2e-9 * statistics.median(rates) for isa, rates in report["sgemm_macs_per_second"].items() if rates}
    parts = [
        f"# {report['machine']}, {report['date']}\n",
        f"mirl {report['commit']}, {report['system']}; {report['size']} x {report['size']} pixels, {report['threads']} "
        f"threads, medians; OpenBLAS sgemm {rate['best']:.0f} GFLOP/s"
        + (f", {rate['avx2']:.0f} with AVX2" if "avx2" in rate else "")
        + (f"; timed under `{report['under']}`" if report["under"] else "") + ".\n",
        aims_table(figures),
        f"## {label(figures, figures.main)} removed\n", engines_table(figures, "best"),
        *(f"{about['name']} failed: {about['missing']}.\n" for about in figures.engines.values()
          if "missing" in about),
        "## Other shares\n", f"![time against sparsity]({stem}.svg)\n", networks_table(figures, "best"),
        "## AVX2\n", engines_table(figures, "avx2"), networks_table(figures, "avx2"),
        *(["## Large images\n", large_table(figures)] if large_table(figures) else []),
    ]
    return "\n".join(parts)


def main():
    path = Path(sys.argv[1])
    figures = Figures(json.loads(path.read_text()))
    plot(figures, path.with_suffix(".svg"))
    told = text(figures, path.stem)
    path.with_suffix(".md").write_text(told)
    print(told)


main()
