#!/usr/bin/env bash
# Builds the image of all services with what is on the machine: buildah, podman or docker.
#   deploy/docker/build.sh [tag]      tag: default sushu:0.1.0;  BASE=<image> takes another base image
set -euo pipefail
cd "$(dirname "$0")/../.."
tag=${1:-sushu:0.1.0}
args=(--file deploy/docker/Dockerfile --tag "$tag")
[[ -n ${BASE:-} ]] && args+=(--build-arg "BASE=$BASE")

if command -v buildah >/dev/null; then
  # BUILDAH_ISOLATION=chroot works inside a container, where namespaces are not to be had
  exec buildah build --layers "${args[@]}" .
elif command -v podman >/dev/null; then
  exec podman build "${args[@]}" .
elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
  exec docker build "${args[@]}" .
fi
echo "make image: no image builder here. Install buildah (apt-get install buildah) or podman, or start a Docker engine." >&2
exit 2
