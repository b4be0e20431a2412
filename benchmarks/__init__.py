"""Speed and memory, as ratios measured in one run: against the books' way, the machine's bounds and peers.

Each module `bench_X` runs alone, `python -m benchmarks.bench_X`; `python -m benchmarks` runs those of its
list.
"""
