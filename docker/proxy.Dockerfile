# The way from Airflow to the Docker engine: only what running a stage's container takes (proxy.cfg).
#
# Debian's packages are not pinned: their security updates are wanted, and old versions leave its servers.
# hadolint global ignore=DL3008
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS proxy
RUN apt-get update \
    && apt-get install --yes --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/*
COPY docker/proxy.cfg /etc/haproxy/haproxy.cfg
# Root, because the socket is root's; compose.yaml takes every capability away, so that this is all it means.
# hadolint ignore=DL3002
USER 0
EXPOSE 2375
HEALTHCHECK --interval=10s --timeout=5s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2375 && printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q OK <&3"]
CMD ["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/proxy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
