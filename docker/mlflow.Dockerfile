# MLflow's server: runs and models in PostgreSQL, artifacts in a folder or in S3.
#
#   make images        or        docker build -f docker/mlflow.Dockerfile -t convoy/mlflow .
#
# Debian's packages are not pinned: their security updates are wanted, and old versions leave its servers.
# hadolint global ignore=DL3008
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS builder
ARG UV=0.13.8
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /uv \
    && /uv/bin/pip install --no-cache-dir --quiet "uv==${UV}" \
    && /uv/bin/uv venv --quiet --python /usr/bin/python3 /opt/venv
ENV VIRTUAL_ENV=/opt/venv UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy
RUN --mount=type=cache,target=/var/cache/uv --mount=source=requirements/mlflow.txt,target=/requirements.txt \
    /uv/bin/uv pip install --quiet --compile-bytecode -r /requirements.txt

FROM ${BASE_IMAGE} AS mlflow
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home mlflow \
    && install --directory --owner mlflow /artifacts
COPY --from=builder /opt/venv /opt/venv
COPY --chmod=755 docker/mlflow.sh docker/mlflow_user.py /usr/local/bin/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
USER 1000
WORKDIR /home/mlflow
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["mlflow.sh"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/mlflow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
