#!/usr/bin/env bash
# docker/base.sh: pull or build the image that the Dockerfiles start FROM.
#
# Where no image registry is reachable, the same minimal Debian is built from Debian's packages (mmdebstrap, as
# root, 20 s) under the same name. That one also has this machine's certificate authorities, for builds behind a
# proxy that opens TLS.
set -euo pipefail

image=${BASE_IMAGE:-debian:bookworm-slim}
authorities=/etc/ssl/certs/ca-certificates.crt

if docker image inspect "$image" >/dev/null 2>&1 || timeout 60 docker pull --quiet "$image" 2>/dev/null; then
  exit
fi
[ "$image" = debian:bookworm-slim ] || { echo "base: $image cannot be pulled, and only debian:bookworm-slim can be built here" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "base: $image cannot be pulled, and mmdebstrap is missing to build it (Debian: apt-get install mmdebstrap)" >&2; exit 1; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The published slim image lacks the same files. usr-is-merged declares what the hook does; otherwise apt would
# install usrmerge, and Perl with it: 50 MB.
mmdebstrap --quiet --variant=minbase --include=ca-certificates,usr-is-merged \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' --aptopt='Acquire::Languages "none"' \
  --aptopt="$(realpath "$(dirname "$0")/apt.conf")" \
  --aptopt='DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; }' \
  --customize-hook="upload $authorities $authorities" \
  --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin' \
  bookworm - 2>"$log" |
  docker import --change "ENV SSL_CERT_FILE=$authorities PIP_CERT=$authorities" --change 'CMD ["bash"]' - "$image" >/dev/null ||
  { cat "$log" >&2; exit 1; }
