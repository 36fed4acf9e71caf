#!/usr/bin/env bash
# Builds kube-apiserver from Debian's source package into a cache folder and installs Debian's etcd: the real servers
# that tests/cluster speak to. For root on Debian 12; some four minutes and 2 GB of scratch on two cores, nothing when
# the cache has it already. Usage: tests/cluster/kube-apiserver.sh [FOLDER]
# Default folder: ${XDG_CACHE_HOME:-$HOME/.cache}/netpol-gen/kube, where the tests look after KUBEBUILDER_ASSETS.
set -euo pipefail

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/netpol-gen/kube}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
export DEBIAN_FRONTEND=noninteractive

needed=()
command -v etcd >/dev/null || needed+=(etcd-server)
command -v openssl >/dev/null || needed+=(openssl)
if [ ! -x "$folder/kube-apiserver" ]; then
  needed+=(golang-1.19-go golang-github-modern-go-reflect2-dev dpkg-dev make rsync)
fi
if ((${#needed[@]})); then
  apt-get -qq update
  apt-get -qq -y install --no-install-recommends "${needed[@]}" >/dev/null
fi
# The tests start an etcd of their own; the package's service is not wanted.
[ -x "$folder/kube-apiserver" ] && { echo "$folder/kube-apiserver is there already"; exit 0; }

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
cd "$scratch"

# Source packages are seldom switched on: lists of our own leave the system's as they are.
mkdir -p lists/partial parts
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
  sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >parts/debian.sources
fi
: >main.list
if [ -f /etc/apt/sources.list ]; then
  sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >main.list
fi
apt=(apt-get -qq
  -o "Dir::Etc::sourcelist=$scratch/main.list" -o "Dir::Etc::sourceparts=$scratch/parts"
  -o "Dir::State::lists=$scratch/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
  -o "APT::Sandbox::User=root")
"${apt[@]}" update
"${apt[@]}" source kubernetes >/dev/null
cd kubernetes-1.*

# The bundled reflect2 crashes on custom resources when built with Go 1.18 or later; Debian's own copy does not.
vendored=vendor/github.com/modern-go/reflect2
rm -f "$vendored"/*.go "$vendored"/*.s
cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.go /usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$vendored"/
rm -f "$vendored"/*_test.go

mkdir -p .go/src/k8s.io
ln -sfn ../../.. .go/src/k8s.io/kubernetes
mkdir -p "$scratch/home"
if ! env HOME="$scratch/home" PATH="/usr/lib/go-1.19/bin:$PATH" GOPATH="$PWD/.go" GOCACHE="$scratch/gocache" \
  CGO_ENABLED=0 GOPROXY=off make WHAT=cmd/kube-apiserver >"$scratch/build.log" 2>&1; then
  tail -40 "$scratch/build.log" >&2
  exit 1
fi
install -m 755 _output/local/bin/linux/*/kube-apiserver "$folder/kube-apiserver.new"
mv "$folder/kube-apiserver.new" "$folder/kube-apiserver"
echo "built $folder/kube-apiserver"
