"""Sums what ncu measured of a step's kernels, one line a kind of kernel, the longest first.

usage: profile_table.py FILE    FILE: ncu --csv --page raw with the metrics of tests/bench/gpu-session
"""
import csv
import sys

TIME, BYTES = "gpu__time_duration.sum", "dram__bytes.sum"
SHARES = ["dram__throughput.avg.pct_of_peak_sustained_elapsed", "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"]
UNITS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1, "second": 1,
         "byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "%": 1}


def rows(path):
    with open(path, newline="") as file:
        table = csv.reader(line for line in file if line.startswith('"'))
        names, units = next(table), next(table)
        for row in table:
            yield {name: (value, unit) for name, value, unit in zip(names, row, units)}


def number(row, name):
    value, unit = row[name]
    return float(value.replace(",", "")) * UNITS[unit]


def main():
    kinds = {}
    for row in rows(sys.argv[1]):
        kernel = row["Kernel Name"][0].split("(")[0][:60]
        seconds = number(row, TIME)
        kind = kinds.setdefault(kernel, [0, 0, 0, [0] * len(SHARES)])
        kind[0] += 1
        kind[1] += seconds
        kind[2] += number(row, BYTES)
        for i, share in enumerate(SHARES):
            kind[3][i] += number(row, share) * seconds
    total = sum(kind[1] for kind in kinds.values())
    print(f"{'kernel':60} {'number':>7} {'ms':>9} {'%':>6} {'GB/s':>7} {'% DRAM':>7} {'% matrix':>8}")
    for kernel, (count, seconds, size, shares) in sorted(kinds.items(), key=lambda item: -item[1][1]):
        print(f"{kernel:60} {count:7} {1e3 * seconds:9.3f} {100 * seconds / total:6.1f} {size / seconds / 1e9:7.0f} "
              f"{shares[0] / seconds:7.1f} {shares[1] / seconds:8.1f}")
    print(f"{'all':60} {sum(kind[0] for kind in kinds.values()):7} {1e3 * total:9.3f}")


if __name__ == "__main__":
    main()
