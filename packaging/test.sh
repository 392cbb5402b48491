#!/usr/bin/env bash
# Proves the packages: built twice they are the same, they pass lintian and systemd-analyze, and the Debian package is
# installed, used, upgraded and purged in a bare Debian. Needs root (or sudo) and Debian or Ubuntu.
#
# The second build starts in an empty directory, so both take some minutes. FAST=1 takes dist/ as it is for the first one, and
# makes the second one in the same place, where only our own crates are compiled anew.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

ok() { echo "ok    $*"; }
fail() { echo "FAIL  $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
command -v lintian >/dev/null || packages+=(lintian)
command -v mmdebstrap >/dev/null || packages+=(mmdebstrap)
if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "please install: ${packages[*]}"
    echo "installing ${packages[*]}" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT
dist=$root/dist

# ---- Twice the same --------------------------------------------------------------------------------------------------------

[ -n "${FAST:-}" ] && [ -e "$dist/SHA256SUMS" ] || packaging/dist.sh
if [ -n "${FAST:-}" ]; then
    DIST=$work/again packaging/dist.sh >/dev/null
else
    git clone --quiet "$root" "$work/clone"
    git -C "$work/clone" checkout --quiet "$(git rev-parse HEAD)"
    env -u CARGO_TARGET_DIR DIST="$work/again" "$work/clone/packaging/dist.sh" >/dev/null
fi
diff -r "$dist" "$work/again" || fail "two builds of one commit differ"
(cd "$dist" && sha256sum --check --quiet SHA256SUMS)
ok "built twice: $(wc -l <"$dist/SHA256SUMS") files, byte for byte the same"

# ---- The archive -----------------------------------------------------------------------------------------------------------

archive=$(echo "$dist"/*.tar.gz)
mkdir "$work/archive"
tar --extract --file "$archive" --directory "$work/archive" --strip-components=1
binary=$work/archive/wazzup-sync
version=$("$binary" --version)
[[ $version == *"($(git rev-parse --short=7 HEAD))" ]] || fail "the version is $version"
! grep --quiet --text 'NEEDED\|ld-linux' <(readelf --program-headers --dynamic "$binary") || fail "the binary is not static"
for path in "$root" "${CARGO_HOME:-$HOME/.cargo}" "$work"; do
    ! grep --quiet --text --fixed-strings "$path/" "$binary" || fail "the binary names $path"
done
for file in LICENSE wazzup-sync.toml installation.md systemd/wazzup-sync.service man/man1/wazzup-sync.1 \
    completions/bash/wazzup-sync completions/zsh/_wazzup-sync completions/fish/wazzup-sync.fish; do
    [ -s "$work/archive/$file" ] || fail "$file is not in the archive"
done
ok "archive: $version, static, no path of this machine in it, $(stat -c %s "$archive") bytes"

# ---- Linted ----------------------------------------------------------------------------------------------------------------

deb=$(echo "$dist"/*.deb)
# As root it warns about that; a tag that the suite does not know is not ours to answer for.
lintian --allow-root --fail-on error --tag-display-limit 0 "$deb" >"$work/lintian" 2>&1 || fail "lintian: $(cat "$work/lintian")"
ok "lintian: no errors, $(grep -c '^W:' "$work/lintian" || true) warnings"

hardening() { sed -n '/^# What it may do/,/^$/{/./p}' "$1"; }
diff <(hardening packaging/systemd/wazzup-sync.service) <(hardening packaging/systemd/wazzup-sync-once.service) ||
    fail "the units differ in what they may do"

# ---- Installed in a bare Debian --------------------------------------------------------------------------------------------

bare=$work/bare
in_bare() { as_root chroot "$bare" "$@"; }
mkdir "$bare"
echo "making a bare Debian (about a minute)" >&2
# systemd for its checks of units alone: nothing is started here.
as_root mmdebstrap --quiet --variant=minbase --include=systemd bookworm "$bare.tar"
as_root tar --extract --file "$bare.tar" --directory "$bare"
as_root cp "$deb" "$bare/tmp/"
as_root cp --dereference /etc/resolv.conf /etc/hosts "$bare/etc/"
# What belongs to the system before; afterwards nothing else may be there.
snapshot() {
    in_bare find / -xdev \( -path /proc -o -path /run -o -path /sys -o -path /tmp -o -path /var/cache -o -path /var/lib/apt -o -path /var/log \
        -o -path '/var/lib/dpkg/*-old' -o -path /var/lib/dpkg/info \) -prune -o -print | sort
    in_bare cat /etc/passwd /etc/group
}
in_bare sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends adduser ca-certificates' >/dev/null 2>&1
snapshot >"$work/before"

in_bare env DEBIAN_FRONTEND=noninteractive dpkg --install "/tmp/${deb##*/}" >"$work/install" 2>&1 ||
    fail "dpkg --install: $(cat "$work/install")"
[ "$(in_bare wazzup-sync --version)" = "$version" ] || fail "the installed program is another"
facts=$(in_bare stat --format '%a %U:%G %n' /etc/wazzup-sync /etc/wazzup-sync/wazzup-sync.toml /usr/bin/wazzup-sync)
[ "$facts" = "750 root:wazzup-sync /etc/wazzup-sync
640 root:wazzup-sync /etc/wazzup-sync/wazzup-sync.toml
755 root:root /usr/bin/wazzup-sync" ] || fail "modes and owners: $facts"
[ -z "$(in_bare find /etc/systemd -name 'wazzup-sync*')" ] || fail "the package enables a unit"
in_bare grep -q '^wazzup-sync:.*:/usr/sbin/nologin$' /etc/passwd || fail "the user: $(in_bare grep wazzup /etc/passwd)"
ok "installed: $(tr '\n' ' ' <<<"$facts")no unit enabled"

in_bare systemd-analyze verify --man=no wazzup-sync.service wazzup-sync-once.service wazzup-sync.timer >"$work/verify" 2>&1 ||
    fail "systemd-analyze verify: $(cat "$work/verify")"
! grep wazzup "$work/verify" || fail "systemd-analyze verify complains"
for unit in wazzup-sync.service wazzup-sync-once.service; do
    in_bare systemd-analyze security --offline=true --threshold=20 "$unit" >"$work/security" || fail "$(cat "$work/security")"
    ok "$unit: verified; $(sed -n 's/^→ //p' "$work/security")"
done

# The sample is complete: what is wrong with it is only that nobody answers.
in_bare sh -c 'echo key >/etc/wazzup-sync/wazzup_api_key'
status=0
in_bare wazzup-sync --config /etc/wazzup-sync/wazzup-sync.toml check >"$work/check" 2>&1 || status=$?
[ $status = 1 ] || fail "check with the sample configuration: $status, $(cat "$work/check")"
ok "check with the sample configuration: exit 1, since there are no such databases"

in_bare sh -c 'echo "# changed" >>/etc/wazzup-sync/wazzup-sync.toml'
in_bare env DEBIAN_FRONTEND=noninteractive dpkg --install "/tmp/${deb##*/}" >"$work/upgrade" 2>&1 ||
    fail "the package over itself: $(cat "$work/upgrade")"
in_bare grep -q '^# changed$' /etc/wazzup-sync/wazzup-sync.toml || fail "a changed configuration was replaced"
in_bare dpkg --remove wazzup-sync >"$work/remove" 2>&1 || fail "dpkg --remove: $(cat "$work/remove")"
in_bare test -e /etc/wazzup-sync/wazzup-sync.toml || fail "removing deletes the configuration"
in_bare env DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq wazzup-sync >"$work/purge" 2>&1 || fail "apt purge: $(cat "$work/purge")"
snapshot >"$work/after"
diff "$work/before" "$work/after" || fail "apt purge leaves something"
ok "installed over itself, removed, purged: nothing is left"
