"""Convoy under Airflow: dvc.yaml as a DAG, one task per stage, run as a process, a container or a pod."""
