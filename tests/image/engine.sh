# shellcheck shell=bash
# Which container engine there is. To be sourced: sets `engine` (docker or podman), defines `container` and small helpers.
#
# Where docker runs, it is used. Else podman and buildah, which need no daemon; on Debian and Ubuntu they are installed.

say() { echo "image: $*" >&2; }
die() { say "$@"; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# install PACKAGE…: Debian packages, without asking.
install_packages() {
    command -v apt-get >/dev/null || die "please install: $*"
    say "installing $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE: makes sure that there is such a command.
need() { command -v "$1" >/dev/null || install_packages "$2"; }

choose_engine() {
    if docker info >/dev/null 2>&1; then
        engine=docker
        return
    fi
    engine=podman
    local missing=()
    for package in buildah podman runc; do
        command -v "$package" >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# container VERB…: the engine's command line.
container() {
    if [ "$engine" = docker ]; then
        docker "$@"
        return
    fi
    local verb=$1 global=() options=()
    shift
    # Inside a container or a small VM there is no systemd to make control groups, and crun may lack rights that runc does
    # not ask for; nor may the limits of open files and processes be raised there, which podman does by default.
    [ -d /run/systemd/system ] || global=(--runtime runc --cgroup-manager cgroupfs)
    if [ "$verb" = run ]; then
        options=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --pull never)
        # podman's --read-only leaves /tmp and others writable; docker's does not.
        [[ " $* " != *" --read-only "* ]] || options+=(--read-only-tmpfs=false)
    fi
    # Health checks are run by name here: without systemd there would be no timers for them, only complaints.
    DISABLE_HC_SYSTEMD=true podman "${global[@]}" "$verb" "${options[@]}" "$@"
}

choose_engine
