#!/usr/bin/env python3
"""The paper's isolation experiment: what two measured domains of samples/isolation.json get done beside a fork bomb and a disk hog, in per cent of the same
without them and beside polite neighbours of the same weights, by turns. docs/isolation.md says what it means.

  bench/isolation.py [--repeat N] [--seconds N] [--equal] [--keep DIR]
"""
import argparse
import json
import math
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
sample = root / "samples" / "isolation.json"
measured = ["web", "db"]
neighbours = {2: "bomb", 3: "hog"}


def run(kind, chosen, folder):
    """One run; work by domain, and what the neighbours had."""
    text = sample.read_text().replace(' s=20"', f' s={chosen.seconds}"')
    config = sample.parent / f".isolation-{kind}.json"
    config.write_text(text)
    # They boot in the window, with half a CPU each where weights are equal.
    words = ["run", config, "--out", folder, "--quiet", "--seconds", str(chosen.seconds + (35 if chosen.equal else 20))]
    weight = 256 if chosen.equal else 1
    for place, name in neighbours.items():
        if kind == "beside":
            words += ["--set", f"domains[{place}].weight={weight}"]
        elif kind == "polite":
            # The same entitlement, and a neighbour that does nothing but arithmetic.
            words += ["--set", f"domains[{place}]=" + json.dumps({"name": name, "guest": "spin", "weight": weight})]
        else:
            words += ["--set", f"domains[{place}]=" + json.dumps({"name": name, "guest": "beat", "guestOptions": {"period": "10 s"}})]
    done = subprocess.run([root / "tessera", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    config.unlink()
    if done.returncode != 0:
        sys.exit(f"isolation.py: the run ended with {done.returncode}:\n{done.stderr[-2000:]}")
    result = json.loads((folder / "result.json").read_text())
    work = {}
    for name in measured:
        console = (folder / f"console-{name}.log").read_text(errors="replace")
        found = re.search(rf"{name}: work (\d+) ", console)
        if not found:
            sys.exit(f"isolation.py: {name} did not finish its {chosen.seconds} s in the window:\n{console[-1500:]}")
        work[name] = int(found.group(1)) / chosen.seconds
    return work, {domain["name"]: domain for domain in result["domains"]}


def interval(alone, beside, draws=10_000):
    """The ratio of the means less 1 in per cent, and its 95 % interval: bootstrap over pairs of neighbouring runs."""
    ratio = lambda pairs: 100 * (sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs) - 1)
    pairs = list(zip(alone, beside))
    drawn = random.Random(1)
    values = sorted(ratio([drawn.choice(pairs) for _ in pairs]) for _ in range(draws))
    return ratio(pairs), values[int(draws * 0.025)], values[math.ceil(draws * 0.975) - 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=6, help="runs of each kind (6)")
    parser.add_argument("--seconds", type=int, default=20, help="what is measured of each run (20)")
    parser.add_argument("--equal", action="store_true", help="equal weights for all four, beside polite neighbours only")
    parser.add_argument("--keep", type=pathlib.Path, help="where the runs' results go; not kept unless given")
    chosen = parser.parse_args()
    kinds = ["polite", "beside"] if chosen.equal else ["alone", "polite", "beside"]
    work = {kind: {name: [] for name in measured} for kind in kinds}
    had = []
    with tempfile.TemporaryDirectory() as temporary:
        keep = chosen.keep or pathlib.Path(temporary)
        for repetition in range(1, chosen.repeat + 1):
            # By turns, and each early as often as late.
            for kind in kinds if repetition % 2 else reversed(kinds):
                folder = keep / f"{repetition:02}-{kind}"
                folder.mkdir(parents=True, exist_ok=True)
                done, domains = run(kind, chosen, folder)
                for name in measured:
                    work[kind][name].append(done[name])
                if kind == "beside":
                    had.append(domains)
                shares = ", ".join(f"{name} {100 * domain['share']:.1f} %" for name, domain in domains.items())
                print(f"{repetition:2} {kind:6}  web {done['web']:7.2f} pages/s  db {done['db']:7.1f} transfers/s   CPU: {shares}", file=sys.stderr)
    print("| domain | against | work then | beside fork bomb and disk hog | change | 95 % interval |\n|---|---|---:|---:|---:|---:|")
    for kind in kinds[:-1]:
        for name, unit in zip(measured, ["pages/s", "transfers/s"]):
            change, low, high = interval(work[kind][name], work["beside"][name])
            print(f"| {name}, {unit} | {kind} | {statistics.mean(work[kind][name]):.1f} | {statistics.mean(work['beside'][name]):.1f} | {change:+.1f} % | {low:+.1f} to {high:+.1f} % |")
    for name in neighbours.values():
        shares = [100 * domains[name]["share"] for domains in had]
        writes = [sum(disk["writtenBytesPerSecond"] for disk in domains[name]["disks"]) / 2**20 for domains in had]
        reads = [sum(disk["readBytesPerSecond"] for disk in domains[name]["disks"]) / 2**20 for domains in had]
        print(f"\n{name}: {statistics.mean(shares):.1f} % of the CPU time, read {statistics.mean(reads):.1f} and wrote {statistics.mean(writes):.1f} MiB/s")


if __name__ == "__main__":
    main()
