#!/bin/sh
# Take out of /opt/venv what no stage reads, and compile what stages import. Of the data image's packages,
# 1,280 MB with all bytecode, 780 MB remain.
set -eu
cd /opt/venv/lib/python3*/site-packages

find . -type d -name tests -prune -exec rm -rf {} +
# MLflow's pages, which its server shows; Arrow's servers and headers.
rm -rf mlflow/server/js pyarrow/include pyarrow/src pyarrow/libarrow_flight*

# Debug symbols. Not of the libraries that wheels bring along in NAME.libs: patchelf has moved their segments,
# and stripped they cannot be loaded.
find . -name '*.so*' -type f ! -path './*.libs/*' ! -path './nvidia/*' ! -path './tensorflow/*' \
  -exec strip --strip-debug {} +

# The image's user may not write beside the packages, so what is not compiled now is compiled at every
# start. All of it would be 160 MB; this is what the stages' commands import.
/opt/venv/bin/python - <<'PYTHON'
import importlib
import importlib.util

for name in ("cv2", "h5py", "hdf5plugin", "jinja2", "matplotlib.pyplot", "mlflow", "mlflow.pyfunc", "PIL.Image",
             "pandas", "pyarrow.dataset", "pyarrow.parquet", "pydantic", "scipy.fft", "scipy.optimize",
             "scipy.stats", "skops.io", "sklearn.linear_model", "sklearn.metrics", "sklearn.neighbors",
             "sklearn.neural_network", "sklearn.pipeline", "dvc.cli", "dvc.commands.repro",
             "dvc.commands.experiments.run", "dvc.repo", "keras"):
    if importlib.util.find_spec(name.partition(".")[0]):
        importlib.import_module(name)
PYTHON
