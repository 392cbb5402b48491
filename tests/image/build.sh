#!/usr/bin/env bash
# Builds the container image: tests/image/build.sh [STAGE]; the stage `sandbox` is the stand-in's image.
#
# With docker this is one `docker build`. Without it, buildah does the same; and where the base image cannot be pulled,
# one like it is made of Debian's packages and this machine's Rust.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/image/engine.sh
source "$(dirname "$0")/engine.sh"

stage=${1:-wazzup-sync}
tag=wazzup-${stage#wazzup-}
volumes=()
cleanup=()
trap '[ ${#cleanup[@]} = 0 ] || rm -rf "${cleanup[@]}"' EXIT

# What the Dockerfile starts from, in full: `rust:1` is Docker Hub's.
base_image() { echo "docker.io/library/$(sed -n 's/^ARG RUST_IMAGE=//p' "$root/Dockerfile")"; }

# Makes sure that the base image is in buildah's store. What was made once stays there.
provide_base() {
    local base
    base=$(base_image)
    ! buildah inspect --type image "$base" >/dev/null 2>&1 || return 0
    say "pulling $base"
    buildah pull --quiet "$base" >/dev/null 2>&1 || make_base "$base"
}

# make_base NAME: what the official image holds, as far as the build needs it: Debian with a C compiler (the crate `ring`
# has C in it) and CA certificates, and Rust in /usr/local.
make_base() {
    local base=$1 version suite sysroot work made
    version=${base##*:} && version=${version%%-*}
    suite=${base##*-}
    [[ $(rustc --version) == "rustc $version."* ]] ||
        die "cannot pull $base, and cannot make one like it: this machine has $(rustc --version)"
    [ "$(id -u)" = 0 ] || die "cannot pull $base, and only root can make one like it"
    say "cannot pull $base: making one like it, of Debian $suite and this machine's Rust (2 to 4 minutes, once)"
    need mmdebstrap mmdebstrap
    work=$(mktemp -d) && cleanup+=("$work")
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,libc6-dev "$suite" "$work/debian.tar"
    sysroot=$(rustc --print sysroot)
    made=$(buildah from scratch)
    buildah add --quiet "$made" "$work/debian.tar" / >/dev/null
    buildah add --quiet "$made" "$sysroot/bin/cargo" "$sysroot/bin/rustc" /usr/local/bin/ >/dev/null
    buildah add --quiet "$made" "$sysroot/lib" /usr/local/lib >/dev/null
    buildah config --env CARGO_HOME=/usr/local/cargo --env PATH=/usr/local/bin:/usr/bin:/bin "$made"
    buildah commit --quiet --rm "$made" "$base" >/dev/null
}

# Lends the build the crates that this machine's cargo has fetched, with whatever mirror, proxy or certificate it is set
# up for; the build itself then needs no network.
lend_crates() {
    command -v cargo >/dev/null || return 0
    cargo fetch --quiet --locked --manifest-path "$root/Cargo.toml"
    local work
    work=$(mktemp -d) && cleanup+=("$work")
    printf '[net]\noffline = true\n' >"$work/config.toml"
    volumes+=(--volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry:ro"
        --volume "$work/config.toml:/usr/local/cargo/config.toml:ro")
}

# build_image OPTION…: builds the Dockerfile with either engine.
build_image() {
    if [ "$engine" = docker ]; then
        docker build "$@" "$root"
        return
    fi
    # HEALTHCHECK is no part of the OCI format. `chroot` needs no rights that a container may lack.
    buildah bud --layers --format docker --isolation chroot --pull-never "${volumes[@]}" "$@" "$root"
}

# `1a2b3c4`, with `-dirty` if the tree differs from it; `unknown` outside of git.
revision() {
    [ -e "$root/.git" ] || { echo unknown; return; }
    git -C "$root" describe --always --dirty --abbrev=7 --exclude '*'
}

if [ "$engine" = podman ]; then
    provide_base
    lend_crates
fi
build_image --target "$stage" --tag "$tag" \
    --build-arg WAZZUP_SYNC_VERSION="$(sed -n '/^\[package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")" \
    --build-arg WAZZUP_SYNC_REVISION="$(revision)"
say "$tag: $(($(container image inspect --format '{{.Size}}' "$tag") / 1000)) kB"
