#!/usr/bin/env python3
"""Published scheduler behaviours beside what Tessera does, simulated and on KVM: samples/published, samples/hundred.json, and 128 domains at two slices.

  bench/published.py [--seconds N] [--pairs N] [--simulated-only] [--domains-only]
"""
import argparse
import json
import pathlib
import subprocess

root = pathlib.Path(__file__).resolve().parent.parent
samples = root / "samples"


def tessera(*words):
    done = subprocess.run([root / "tessera", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"published.py: tessera {' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def domains(result):
    return {domain["name"]: domain for domain in result["domains"]}


def weights(result):
    total = sum(domain["cpuSeconds"] for domain in result["domains"])
    weight = sum(domain["weight"] for domain in result["domains"])
    errors = [abs(domain["cpuSeconds"] / total / (domain["weight"] / weight) - 1) for domain in result["domains"]]
    return f"{100 * max(errors):.2f} %"


def quanta(result):
    total = sum(domain["cpuSeconds"] for domain in result["domains"])
    weight = sum(domain["weight"] for domain in result["domains"])
    errors = [abs(domain["cpuSeconds"] - total * domain["weight"] / weight) for domain in result["domains"]]
    return f"{1000 * max(errors):.1f} ms"


def latency(result):
    found = domains(result)["beat"]["wakeLatencyNs"]
    return f"{found['p50'] / 1e6:.3f} / {found['p99'] / 1e6:.3f} ms"


def share(name):
    return lambda result: f"{100 * domains(result)[name]['share']:.2f} %"


def slices(result):
    found = domains(result)
    reserved = {"two-of-5": 0.4, "three-of-10": 0.3, "five-of-20": 0.25}
    return f"{min(100 * (found[name]['share'] - part) for name, part in reserved.items()):+.2f} points"


# Source, what is looked at, what was published, the configuration, changes to it, how it is read.
rows = [
    ("Xen paper, fig. 5 (BVT)", "weights 1 to 8: worst error of a share", "within 4 %", "published/weights.json", [], weights),
    ("Xen paper, BVT", "wake beside 100 hogs, no warp, p50 / p99", "its turn", "hundred.json", ["domains[1].scheduler.warp=false"], latency),
    ("Xen paper, BVT", "the same with warp", "far below", "hundred.json", [], latency),
    ("BVT", "share of warp limit 20 ms, unwarp 180 ms", "10 % at most", "published/warp-limit.json", [], share("greedy")),
    ("Xen credit", "cap of 25 %", "25 % within 1 point", "published/credit.json", [], share("capped")),
    ("Xen credit", "boosted wake beside 9 hogs, p50 / p99", "rate limit, 1 ms", "published/credit.json", [], latency),
    ("Liu and Layland (SEDF)", "95 % reserved: worst slice had less promised", "0 points", "published/edf.json", [], slices),
    ("Stride, TM-528", "weights 3 and 1: distance from the ideal over a window", "below 10 ms at each end", "published/stride.json", [], quanta),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="length of each run (20)")
    parser.add_argument("--pairs", type=int, default=14, help="pairs of windows for each slice of the 128 domains (14)")
    parser.add_argument("--simulated-only", action="store_true", help="nothing on KVM")
    parser.add_argument("--domains-only", action="store_true", help="the 128 domains only")
    chosen = parser.parse_args()
    if not chosen.domains_only:
        print("| source | behaviour | published | simulated | on KVM |\n|---|---|---|---|---|")
        kept = {}
        for source, behaviour, published, config, changes, read in rows:
            values = []
            for verb in ["simulate"] if chosen.simulated_only else ["simulate", "run"]:
                key = (verb, config, *changes)
                if key not in kept:
                    words = [word for change in changes for word in ("--set", change)]
                    kept[key] = tessera(verb, samples / config, *words, "--seconds", str(chosen.seconds), "--quiet", "--json")
                values.append(read(kept[key]))
            print(f"| {source} | {behaviour} | {published} | {' | '.join(values + ['not run'] * (2 - len(values)))} |", flush=True)
        print()
    if chosen.simulated_only:
        return
    print("| 128 CPU-bound domains, slice | published loss | work, 128 over one alone | 95 % | switches a second |\n|---|---|---|---|---|")
    for allowance, published in [("5 ms", "7.5 %"), ("50 ms", "about 0")]:
        found = tessera("bench", "density", "--domains", "128", "--allowance", allowance, "--pairs", str(chosen.pairs), "--json")
        ratio = found["workRatio"]
        seconds = found["windowSeconds"] * chosen.pairs
        print(f"| {allowance} | {published} | {ratio['median']:.4f} | {ratio['low']:.4f} to {ratio['high']:.4f} | {found['switches'] / seconds:.0f} |", flush=True)


main()
