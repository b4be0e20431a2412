"""All benchmarks, one table."""

from benchmarks import (
    bench_batches,
    bench_change,
    bench_data,
    bench_extract,
    bench_memory,
    bench_quality,
    bench_storage,
    harness,
)

# Memory first: its figures are of small processes, started before this one has grown.
harness.main(
    bench_memory.measure,
    bench_data.measure,
    bench_quality.measure,
    bench_change.measure,
    bench_batches.measure,
    bench_extract.measure,
    bench_storage.measure,
)
