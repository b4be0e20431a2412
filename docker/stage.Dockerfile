# The stages' images. Targets:
#   data       every stage that needs no TensorFlow
#   train      the same and Keras on TensorFlow, CPU
#   train-jax  the same on JAX instead of TensorFlow, CPU: for a training in several processes
#   train-gpu  the same with CUDA's libraries as wheels: the host brings the driver alone
#
#   make images        or        docker build -f docker/stage.Dockerfile --target train -t convoy/train .
#
# Build argument PLUGINS: packages for DVC remotes, as in --build-arg PLUGINS="dvc-s3 dvc-ssh" (or dvc-gs, dvc-azure);
# docker/images.sh takes the variable of this name. Without it, remotes are folders.
#
# A task clones the repository at its run's commit, so an image is an environment; the code in it serves to
# try a stage by hand. It comes last: an edit rebuilds one small layer.
#
# Each COPY from the checkout has --chmod: with the umask 077, files there are their owner's alone.
#
# Debian's packages are not pinned: their security updates are wanted, and old versions leave its servers.
# hadolint global ignore=DL3008
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS system
# A task may run under any user id, that of the folders it mounts: the home must be writable for all. A recorded
# run is a commit, which needs an author. A mounted repository may be another user's, and of git's settings its
# upload-pack obeys the system's alone.
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system user.name Convoy \
    && git config --system user.email convoy@localhost \
    && git config --system --add safe.directory '*' \
    && useradd --uid 1000 --create-home convoy \
    && chmod 1777 /home/convoy
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/convoy \
    USER=convoy \
    PYTHONUNBUFFERED=1 \
    DVC_NO_ANALYTICS=1 \
    MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /opt/convoy
# A task ends by itself with an exit status.
HEALTHCHECK NONE
# tini passes signals on and reaps the children of a killed stage; python as process 1 does neither.
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "pipelines.worker"]

FROM system AS train-system
# Keras draws a network's layers, architecture.png, by graphviz's `dot`: 70 MB.
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends graphviz \
    && rm -rf /var/lib/apt/lists/*

FROM ${BASE_IMAGE} AS builder
ARG UV=0.13.8
RUN --mount=source=docker/apt.conf,target=/etc/apt/apt.conf.d/network.conf \
    timeout 600 apt-get update \
    && apt-get install --yes --no-install-recommends binutils python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /uv \
    && /uv/bin/pip install --no-cache-dir --quiet "uv==${UV}" \
    && /uv/bin/uv venv --quiet --python /usr/bin/python3 /opt/venv
ENV VIRTUAL_ENV=/opt/venv UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy
COPY --chmod=755 docker/slim.sh /usr/local/bin/slim.sh

FROM builder AS data-packages
ARG PLUGINS
RUN --mount=type=cache,target=/var/cache/uv --mount=source=requirements/data.txt,target=/requirements.txt \
    /uv/bin/uv pip install --quiet -r /requirements.txt ${PLUGINS} && slim.sh

FROM builder AS train-packages
ARG PLUGINS
RUN --mount=type=cache,target=/var/cache/uv --mount=source=requirements/stages.txt,target=/requirements.txt \
    /uv/bin/uv pip install --quiet -r /requirements.txt ${PLUGINS} && slim.sh

FROM builder AS train-jax-packages
ARG PLUGINS
RUN --mount=type=cache,target=/var/cache/uv --mount=source=requirements/train-jax.txt,target=/requirements.txt \
    /uv/bin/uv pip install --quiet -r /requirements.txt ${PLUGINS} && KERAS_BACKEND=jax slim.sh

FROM builder AS train-gpu-packages
ARG PLUGINS
RUN --mount=type=cache,target=/var/cache/uv --mount=source=requirements/train-gpu.txt,target=/requirements.txt \
    /uv/bin/uv pip install --quiet -r /requirements.txt ${PLUGINS} && slim.sh

FROM scratch AS code
COPY --chmod=755 stages /stages
COPY --chmod=755 pipelines /pipelines

FROM system AS data
COPY --from=data-packages /opt/venv /opt/venv
COPY --from=code / ./
USER 1000
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/data" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"

FROM train-system AS train
COPY --from=train-packages /opt/venv /opt/venv
COPY --from=code / ./
USER 1000
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/train" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"

FROM train-system AS train-jax
COPY --from=train-jax-packages /opt/venv /opt/venv
COPY --from=code / ./
ENV KERAS_BACKEND=jax
USER 1000
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/train-jax" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"

FROM train-system AS train-gpu
COPY --from=train-gpu-packages /opt/venv /opt/venv
COPY --from=code / ./
USER 1000
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="convoy/train-gpu" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
