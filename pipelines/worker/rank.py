"""A rank above 0 of a stage that several processes run together: the same `dvc repro`, and no outputs.

The rank has to see what rank 0 sees: the same inputs from the cache, the same command, variables and folder
of checkpoints. So it is brought up to date as rank 0 is; DVC misses the outputs afterwards, which rank 0
alone writes. Rejected: to run the stage's command without DVC, whose templates would have to be filled in
here, or by DVC's internal functions, 0.7 s more for each rank.
"""

from typing import Any

from pipelines.worker import dvc
from pipelines.worker.clone import cloned
from pipelines.worker.job import Job
from pipelines.worker.stage import peak_memory_mb, variables


def rank(job: Job) -> dict[str, Any]:
    """Run a stage as the rank that Keras' variables name, and save nothing.

    What the stage depends on comes from the cache; where the cache lacks it, DVC runs it, as for rank 0. The
    stage itself runs in any case: rank 0 waits for it.

    Args:
        job: The task.

    Returns:
        The result: `ran`.

    Raises:
        RefusedError: The stage reported a permanent error.
        FailedError: It ended otherwise.
    """
    with cloned(job) as root:
        dvc.fetch(root, job)
        done = dvc.repro(root, job, [job.stage], variables(job))
        if not done.status and job.stage not in done.ran:
            # The cache has its outputs: rank 0 was forced to run, or another run has just saved them.
            words = ["--force", "--single-item", job.stage]
            done = dvc.repro(root, job, words, variables(job), ran=done.ran)
        # A command that does not know of ranks writes its outputs here as well.
        if done.status and not done.lacks_output:
            done.fail(job.stage)
        return {"outcome": "ran", "reason": "", "peak_memory_mb": peak_memory_mb()}
