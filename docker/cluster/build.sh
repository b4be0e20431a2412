#!/usr/bin/env bash
# docker/cluster/build.sh: build Kubernetes' programs from Debian's source package, once per version.
#
# Prints the folder that holds them: kubernetes-VERSION/bin in CONVOY_CLUSTER (default: ~/.cache/convoy). No registry
# within reach carries them. The first build takes 6 CPU minutes, 35 MB of download and 1.6 GB of disk, of which
# 240 MB stay; a build that is interrupted goes on where it was. Takes the packages golang-1.19-go, dpkg-dev and
# golang-github-modern-go-reflect2-dev, and the lists of `apt-get update`. Exit status 69 (EX_UNAVAILABLE), after one
# line, where it cannot be built.
set -euo pipefail

PROGRAMS="kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl"
unavailable() { echo "build: Kubernetes cannot be built: $1" >&2; exit 69; }
for tool in apt-get dpkg-source; do
  command -v "$tool" >/dev/null || unavailable "$tool is missing (Debian: apt-get install dpkg-dev)"
done
package=$(apt-cache show --no-all-versions kubernetes-client 2>/dev/null | sed -n 's/^Version: //p')
[ -n "$package" ] || unavailable "apt knows no package kubernetes-client (apt-get update)"
# Debian writes 1.20.5+really1.20.2-1.1+deb12u1 for 1.20.2.
version=${package%%-*}
version=${version##*really}

folder=${CONVOY_CLUSTER:-${XDG_CACHE_HOME:-$HOME/.cache}/convoy}/kubernetes-$version
mkdir -p "$folder"
exec {lock}>"$folder/lock"
flock "$lock"
if [ -e "$folder/bin/complete" ]; then
  echo "$folder/bin"
  exit
fi
export PATH=/usr/lib/go-1.19/bin:$PATH
[[ $(go version 2>/dev/null) == *go1.19* ]] || unavailable "Go 1.19 is missing (Debian: apt-get install golang-1.19-go)"
reflect2=/usr/share/gocode/src/github.com/modern-go/reflect2
[ -e "$reflect2" ] || unavailable "$reflect2 is missing (Debian: apt-get install golang-github-modern-go-reflect2-dev)"

# The source package, by lists of its own: this machine's apt may have no deb-src lines.
mkdir -p "$folder/apt/lists/partial" "$folder/apt/parts"
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$folder/apt/parts/${file##*/}"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$file" ] && sed -n 's/^deb /deb-src /p' "$file" >"$folder/apt/parts/${file##*/}.list"
done
APT_CONFIG=$(realpath "$(dirname "$0")/../apt.conf")
export APT_CONFIG
apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$folder/apt/parts"
  -o "Dir::State::lists=$folder/apt/lists" -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root)
source=$folder/go/src/k8s.io/kubernetes
if [ ! -e "$source/debian" ]; then
  timeout 600 "${apt[@]}" update >&2
  (cd "$folder/apt" && "${apt[@]}" source --download-only "kubernetes=$package" >&2)
  mkdir -p "${source%/*}"
  rm -rf "$source.part"
  dpkg-source --extract "$folder"/apt/kubernetes_*.dsc "$source.part" >&2
  # The source has a version that reads beyond empty maps since Go 1.18: Debian's own kubectl ends with a panic at
  # `kubectl config set-credentials`.
  rm -r "$source.part/vendor/github.com/modern-go/reflect2"
  cp --recursive "$reflect2" "$source.part/vendor/github.com/modern-go/"
  mv "$source.part" "$source"
fi

export GOPATH=$folder/go GOCACHE=$folder/go-cache GO111MODULE=off CGO_ENABLED=0
cd "$source"
# The one generated file that the source lacks: what the API server says about its objects.
if [ ! -e pkg/generated/openapi/zz_generated.openapi.go ]; then
  inputs=$(grep --recursive --files-with-matches --include='*.go' '^// +k8s:openapi-gen=' cmd pkg staging/src/k8s.io |
    grep -v -e staging/src/k8s.io/code-generator -e staging/src/k8s.io/sample-apiserver |
    xargs -n1 dirname | sort --unique | sed -e 's,^staging/src/,vendor/,' -e 's,^,k8s.io/kubernetes/,' | paste -s -d ,)
  go build -o "$folder/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  "$folder/openapi-gen" --input-dirs "$inputs" --output-package k8s.io/kubernetes/pkg/generated/openapi \
    --output-file-base zz_generated.openapi --output-base "$GOPATH/src" \
    --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt --report-filename "$folder/violations" >&2
fi
flags="-s -w"
for at in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  at=k8s.io/kubernetes/vendor/$at
  flags+=" -X $at.gitVersion=v$version -X $at.gitMajor=${version%%.*} -X $at.gitMinor=$(cut -d . -f 2 <<<"$version")"
done
mkdir -p "$folder/bin"
for program in $PROGRAMS; do
  [ -e "$folder/bin/$program" ] || { echo "build: $program $version" >&2; go build -tags providerless -ldflags "$flags" -o "$folder/bin/$program" "./cmd/$program"; }
done
touch "$folder/bin/complete"
cd /
rm -rf "$folder/go" "$folder/go-cache" "$folder/apt" "$folder/openapi-gen" "$folder/violations"
echo "$folder/bin"
