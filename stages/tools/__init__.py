"""Commands beside the pipeline, each `python -m stages.tools.NAME`. No stage imports them."""
