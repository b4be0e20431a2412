"""Shared helpers of every room: logging, files, errors, threads, plug-ins. Imports nothing else of Convoy."""

import os

from stages.common import collector, limits, starting

# TensorFlow prints a page of notices on every import, before it can be configured. Here, as every module that
# imports Keras, served models included, imports one of these helpers first.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow by itself uses oneDNN on CPUs with AVX-512 VNNI alone. With AVX2, networks train 1.2 to 1.7 times
# as fast with it (docs/speed.md).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
limits.limit_threads(os.environ)
if name := starting.command_name():
    starting.end_on_sigterm(name)
    collector.skip_at_exit()
