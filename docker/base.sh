#!/usr/bin/env bash
# docker/base.sh: see to it that the image the Dockerfiles start FROM is here.
#
# It is pulled; where no registry can be reached, the same minimal Debian is made of Debian's own packages
# (mmdebstrap, as root, 20 s) and given the same name. Made here, it also carries this machine's certificate
# authorities, so that builds work behind a proxy that opens TLS.
set -euo pipefail

image=${BASE_IMAGE:-debian:bookworm-slim}
authorities=/etc/ssl/certs/ca-certificates.crt

if docker image inspect "$image" >/dev/null 2>&1 || timeout 60 docker pull --quiet "$image" 2>/dev/null; then
  exit
fi
[ "$image" = debian:bookworm-slim ] || { echo "base: $image cannot be pulled, and only debian:bookworm-slim can be made here" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "base: $image cannot be pulled, and mmdebstrap is missing to make it (Debian: apt-get install mmdebstrap)" >&2; exit 1; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# What is left out here, the published slim image leaves out. usr-is-merged says what the hook does; in its place
# apt would take usrmerge, and Perl with it: 50 MB.
mmdebstrap --quiet --variant=minbase --include=ca-certificates,usr-is-merged \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' --aptopt='Acquire::Languages "none"' \
  --aptopt='Acquire::Retries "5"' \
  --aptopt='DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; }' \
  --customize-hook="upload $authorities $authorities" \
  --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin' \
  bookworm - 2>"$log" |
  docker import --change "ENV SSL_CERT_FILE=$authorities PIP_CERT=$authorities" --change 'CMD ["bash"]' - "$image" >/dev/null ||
  { cat "$log" >&2; exit 1; }
