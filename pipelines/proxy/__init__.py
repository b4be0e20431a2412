"""The service between Airflow and the Docker engine: `python -m pipelines.proxy`, with the standard library
alone.

Who may create any container on an engine is root on its host. The proxy never forwards a request. It reads
one, compares it with the closed schema of a stage's container (`spec.py`), and builds a request of its own.
All other calls are limited to containers that it has labelled, and their answers to the fields that the
docker runner reads.

Its settings are environment variables:

    CONVOY_IMAGES           images that may be run, separated by commas
    CONVOY_HOME             the folder that stages write to
    CONVOY_REPOSITORY       the repository, of which stages see `.git`; `record` adds experiments to it
    CONVOY_DATA             the folder of images, read only
    CONVOY_UID, CONVOY_GID  the user that stages run as
    CONVOY_DOCKER_NETWORK   the network that stages are attached to
    CONVOY_STACK            the label's value: containers of other stacks on the engine stay out of reach
    CONVOY_UNATTENDED       seconds after which a container without a runner is stopped, then removed; 300
    DOCKER_SOCKET           the engine's socket; /var/run/docker.sock

The rejected alternatives: regular expressions over the request's JSON (the engine's parser folds Unicode, so
keys have more spellings than a pattern knows), and wollomatic/socket-proxy (no package of Debian or PyPI
holds it).
"""
