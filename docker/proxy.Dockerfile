# The way from Airflow to the Docker engine: pipelines/proxy, and Python to run it.
#
# Debian's packages are not pinned: their security updates are wanted, and old versions leave its servers.
# hadolint global ignore=DL3008
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS proxy
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/convoy
COPY --chmod=755 pipelines/__init__.py pipelines/
COPY --chmod=755 pipelines/proxy pipelines/proxy
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Root, because the socket is root's; compose.yaml takes every capability away, so that this is all it means.
# hadolint ignore=DL3002
USER 0
EXPOSE 2375
HEALTHCHECK --interval=10s --timeout=5s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:2375/_ping', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["python3", "-m", "pipelines.proxy"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/proxy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
