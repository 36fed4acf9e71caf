#!/usr/bin/env bash
# Fetches GitHub's own OpenAPI description, which the tests of the forge are held to, into a cache folder: 13 MB kept of an
# archive of 28. Needs npm; does nothing when the cache has it already. Usage: tests/forge/openapi.sh [FOLDER]
# Default folder: ${XDG_CACHE_HOME:-$HOME/.cache}/netpol-gen/openapi, where tests/forge/contract.py looks.
set -euo pipefail

version=23.0.2
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/netpol-gen/openapi}
file=$folder/api.github.com-$version.json
[ -s "$file" ] && { echo "$file is there already"; exit 0; }
command -v npm >/dev/null || { echo "npm is missing; on Debian and Ubuntu: apt-get install --no-install-recommends nodejs npm" >&2; exit 1; }

mkdir -p "$folder"
scratch=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm pack --silent "@octokit/openapi@$version" >/dev/null
tar -xzf ./*.tgz package/generated/api.github.com.json
# Renamed into place, so that a run that was cut short leaves nothing that looks whole.
mv package/generated/api.github.com.json "$file"
echo "fetched $file"
