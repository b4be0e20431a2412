# PostgreSQL as the official image behaves for compose.yaml, of Debian's package: for where no registry is.
# hadolint global ignore=DL3008
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /etc/postgresql /var/lib/postgresql/* \
    && install --directory --owner postgres /var/lib/postgresql/data /docker-entrypoint-initdb.d
COPY --chmod=755 tests/docker/postgres-start.sh /usr/local/bin/start.sh
USER postgres
EXPOSE 5432
CMD ["start.sh"]
