# Airflow with Convoy's DAGs: one image for the API server, the scheduler, the DAG processor and the triggerer.
#
#   make images        or        docker build -f docker/airflow.Dockerfile -t convoy/airflow .
#
# It holds neither DVC nor TensorFlow: stages run in images of their own (stage.Dockerfile).
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
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=source=requirements/airflow.txt,target=/requirements/airflow.txt \
    /uv/bin/uv pip install --quiet --compile-bytecode -r /requirements/airflow.txt

FROM ${BASE_IMAGE} AS airflow
# The services run as the repository's owner, so their home and the logs are writable for all.
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home airflow \
    && mkdir /logs \
    && chmod 1777 /home/airflow /logs
COPY --from=builder /opt/venv /opt/venv
COPY --chmod=755 docker/airflow.sh /usr/local/bin/airflow.sh
RUN ln -s /usr/local/bin/airflow.sh /entrypoint
WORKDIR /opt/convoy
COPY --chmod=755 pipelines pipelines
COPY --chmod=755 dvc.yaml params.yaml ./
COPY --chmod=755 conf conf
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/airflow \
    USER=airflow \
    PYTHONPATH=/opt/convoy:/opt/convoy/pipelines/policy \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/home/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/convoy/pipelines/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
USER 1000
EXPOSE 8080
# Of the API server; compose.yaml replaces it for the others. A loaded machine needs minutes for the first answer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/api/v2/monitor/health', timeout=4)"]
ENTRYPOINT ["tini", "--", "airflow.sh"]
CMD ["api-server"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/airflow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
