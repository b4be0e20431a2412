"""The stages of the pipeline: each a typed function on paths and params behind a thin command line.

This package knows nothing of Airflow; `dvc.yaml` is where its stages become a graph.
"""
