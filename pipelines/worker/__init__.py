"""What runs inside a task: `python -m pipelines.worker`, in the environment that the stages have.

It needs Python 3.11, git, DVC and PyYAML (and hydra-core for the plan), and nothing of Airflow or `stages`.
One call does one of five things, in a clone that is removed afterwards:

    plan    compose and check the run's params; restore what the cache has; say what will run and why
    stage   `dvc repro STAGE`
    rank    run the same stage as one more process of a training, whose rank 0 is a `stage`; save nothing
    record  prove that everything is in the cache; save the run as a DVC experiment; link it with MLflow
    clean_up  list what old runs left, and remove it where CONVOY_REMOVE says so

Environment variables describe the job:

    CONVOY_ACTION       plan, stage, rank, record or clean_up
    CONVOY_REPOSITORY   what to clone: a folder or a URL
    CONVOY_COMMIT       the branch, tag or commit to check out; HEAD if not set
    CONVOY_RESULT       the file that the result is written to; `-`: the last lines of the output, a
                        part each after `convoy-result NUMBER/COUNT: `
    CONVOY_RUN          the run's name: of the parent run in MLflow, and of the experiment in DVC
    CONVOY_STAGE        the stage as DVC calls it: ingest, train@lenet                  (stage, rank)
    CONVOY_PARAMS       the text of the run's params.yaml, as the plan's result has it  (stage, rank, record)
    CONVOY_MESSAGES     a JSON list: the names of the stage's events that the result has (stage)
    CONVOY_FORCED       a JSON list: stages that run although the cache has their outputs, train@lenet, or
                        train for all its members                                       (plan, stage)
    CONVOY_OVERRIDES    a JSON list of Hydra overrides; `*` in a key: every entry       (plan)
    CONVOY_CACHE        the DVC cache that all tasks share, a folder. Otherwise:
    CONVOY_REMOTE       a DVC remote of the repository, for the run cache as well; not over HTTP
    CONVOY_STATE        a folder that outlives the task: checkpoints that a retry resumes from, durations, and
                        what is remembered of complete runs
    CONVOY_DATA         a folder that stands in for datasets/, which is not in git
    CONVOY_WORK         where clones are made; best on the cache's file system, where files are linked
    CONVOY_DAYS         how old something has to be; 30                                 (clean_up)
    CONVOY_REMOVE       1: remove it; otherwise it is only listed                       (clean_up)
    CONVOY_RUN_URL      the page of this run, for the links                             (record)
    CONVOY_MLFLOW_URL   MLflow as a browser reaches it; MLFLOW_TRACKING_URI if not set  (record)

The rest of the environment reaches the stage as it is (MLFLOW_TRACKING_URI, KERAS_BACKEND, CONVOY_DEBUG …,
and Keras' KERAS_DISTRIBUTION_… of a training in several processes); with CONVOY_STATE, CONVOY_CHECKPOINTS is
set to a folder of this run and stage, which `record` clears.

The exit status says how it ended, the result (JSON; missing only if the worker was killed) the rest:

    0    done                outcome: ran, planned, recorded or cleaned
    99   nothing to do       outcome: restored, with the reason
    1    failed              outcome: failed, with the first error, and the traceback of an unexpected one
    2    refused             outcome: refused, with a permanent error; a retry cannot help
    143  stopped by SIGTERM  with all that it had started

    {"outcome": "ran", "reason": "…", "seconds": 12.3, "peak_memory_mb": 1890, "metrics": {…},
     "events": [{"event": …, FIELD: …}], "last_event": {"event": …, FIELD: …},
     "inputs", "outputs": {PATH: {"digest": …, "bytes": …, "files": …}}}
    plan adds   "commit", "params" (text),
                "stages": {ADDRESS: {"runs": …, "reason": …, "seconds": … or null, "forced": …}},
                "recorded": what record returned for the same run before, or null
    clean_up adds "leftovers": {KIND: [number, bytes]}
    record adds "experiment", "mlflow_run_id" and "mlflow_url" (null where no such run is found), "metrics"

Output of DVC and of the stage goes to standard output, line by line; the last line is the outcome. Outputs of
a failed stage are saved in CONVOY_STATE/failed/RUN/STAGE. Logins and other secrets in URLs are not printed.
"""
