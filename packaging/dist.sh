#!/usr/bin/env bash
# Builds what a release consists of, from the commit that is checked out, into dist/ (or $DIST):
#
#   wazzup-sync-VERSION-x86_64-linux.tar.gz   the static binary, a sample configuration, units, completions, man pages
#   wazzup-sync_VERSION_amd64.deb             the same as a Debian package
#   wazzup-sync-VERSION.cdx.json              the software bill of materials
#   SHA256SUMS
#
# The same commit and the same Rust give the same bytes: nothing depends on the time, the place or the user.
# $MAINTAINER ("Name <address>") is written into the Debian package.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export LC_ALL=C TZ=UTC
umask 022

say() { echo "dist: $*" >&2; }
die() { say "$@"; exit 1; }

target=x86_64-unknown-linux-gnu
[ "$(uname -sm)" = "Linux x86_64" ] || die "packages are built on x86_64 Linux only; this is $(uname -sm)"
for program in cargo cc dpkg-deb git gzip tar; do
    command -v "$program" >/dev/null || die "$program is missing (Debian packages: gcc, libc6-dev, dpkg, git, gzip, tar)"
done
dist=${DIST:-$root/dist}
maintainer=${MAINTAINER:-wazzup-sync maintainers <maintainers@wazzup-sync.example.org>}
version=$(sed -n '/^\[package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=wazzup-sync-$version-x86_64-linux
revision=$(git rev-parse --short=7 HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
[ -z "$(git status --porcelain --untracked-files=no)" ] || say "uncommitted changes are left out: this is $revision"

# ---- The programs --------------------------------------------------------------------------------------------------------

# What is built is the commit, and not what lies around in the checkout.
builds=${CARGO_TARGET_DIR:-$root/target}/dist
source=$builds/source
rm -rf "$source"
mkdir -p "$source"
git archive HEAD | tar --extract --directory "$source" --touch

say "building wazzup-sync $version ($revision), which takes some minutes"
# No path of this machine gets into the binary.
remap() { printf -- '--remap-path-prefix=%s=%s ' "$1" "$2"; }
paths="$(remap "$source" /build)$(remap "$builds" /target)$(remap "${CARGO_HOME:-$HOME/.cargo}" /cargo)"
cc -O2 -c "$source/packaging/lookups.c" -o "$builds/lookups.o"
(
    cd "$source"
    # As in the Dockerfile: an explicit target keeps `crt-static` away from procedural macros.
    RUSTFLAGS="-C target-feature=+crt-static -C link-arg=$builds/lookups.o $paths" \
        CFLAGS="-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
        WAZZUP_SYNC_REVISION=$revision SQLX_OFFLINE=true CARGO_TARGET_DIR=$builds \
        cargo build --quiet --release --locked --target $target --bin wazzup-sync
    SQLX_OFFLINE=true CARGO_TARGET_DIR=$builds cargo build --quiet --locked --package assets
)
binary=$builds/$target/release/wazzup-sync

# ---- What both packages hold -----------------------------------------------------------------------------------------------

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
share=$work/share
"$builds/debug/assets" "$version" "$(date --date="@$SOURCE_DATE_EPOCH" +%F)" "$share"

# What the units expect: the secrets beside the configuration.
sed 's|/run/secrets/|/etc/wazzup-sync/|' "$source/config/wazzup-sync.toml" >"$work/wazzup-sync.toml"
grep -q '^api_key_file = "/etc/wazzup-sync/wazzup_api_key"' "$work/wazzup-sync.toml" ||
    die "config/wazzup-sync.toml names no api_key_file in /run/secrets"

# put FILE DIRECTORY: as an ordinary file that everybody may read.
put() { install -D --mode 644 --target-directory "$2" "$1"; }

# ---- The archive -----------------------------------------------------------------------------------------------------------

tree=$work/$name
install -D --mode 755 --target-directory "$tree" "$binary"
put "$work/wazzup-sync.toml" "$tree"
for file in LICENSE CHANGELOG.md docs/installation.md; do
    put "$source/$file" "$tree"
done
for unit in "$source"/packaging/systemd/*; do
    put "$unit" "$tree/systemd"
done
put "$share/bash-completion/completions/wazzup-sync" "$tree/completions/bash"
put "$share/zsh/vendor-completions/_wazzup-sync" "$tree/completions/zsh"
put "$share/fish/vendor_completions.d/wazzup-sync.fish" "$tree/completions/fish"
cp --recursive "$share/man" "$tree/man"

rm -rf "$dist"
mkdir -p "$dist"
tar --create --directory "$work" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
    --numeric-owner --mode=u+rw,go+r,go-w "$name" | gzip --no-name --best >"$dist/$name.tar.gz"

# ---- The Debian package ----------------------------------------------------------------------------------------------------

deb=$work/deb
install -D --mode 755 --target-directory "$deb/usr/bin" "$binary"
install -D --mode 640 --target-directory "$deb/etc/wazzup-sync" "$work/wazzup-sync.toml"
for unit in "$source"/packaging/systemd/*; do
    # Debian 12 and Ubuntu 22.04 look here.
    put "$unit" "$deb/lib/systemd/system"
done
cp --recursive "$share" "$deb/usr/share"
docs=$deb/usr/share/doc/wazzup-sync
put "$source/packaging/deb/copyright" "$docs"
put "$source/docs/installation.md" "$docs"
install -D --mode 644 "$source/CHANGELOG.md" "$docs/NEWS.md"
install -D --mode 644 "$source/packaging/deb/lintian-overrides" "$deb/usr/share/lintian/overrides/wazzup-sync"
cat >"$docs/changelog" <<END
wazzup-sync ($version) unstable; urgency=medium

  * Version $version, commit $revision; NEWS.md.gz tells what is new.

 -- $maintainer  $(date --date="@$SOURCE_DATE_EPOCH" --rfc-email)
END
gzip --no-name --best "$docs/changelog" "$docs/NEWS.md" "$deb"/usr/share/man/man1/*
# In kB, of the files alone: what a directory takes depends on the file system.
installed_size=$(find "$deb" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
mkdir "$deb/DEBIAN"
sed -e "s|@VERSION@|$version|" -e "s|@MAINTAINER@|$maintainer|" -e "s|@INSTALLED_SIZE@|$installed_size|" \
    "$source/packaging/deb/control" >"$deb/DEBIAN/control"
install --mode 644 --target-directory "$deb/DEBIAN" "$source/packaging/deb/conffiles"
for script in postinst prerm postrm; do
    install --mode 755 --target-directory "$deb/DEBIAN" "$source/packaging/deb/$script"
done
(cd "$deb" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort --zero-terminated |
    xargs -0 md5sum >DEBIAN/md5sums)
find "$deb" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$deb" "$dist/wazzup-sync_${version}_amd64.deb" >/dev/null

# ---- The bill of materials, the sums ---------------------------------------------------------------------------------------

tests/sbom.sh >/dev/null
mv wazzup-sync.cdx.json "$dist/wazzup-sync-$version.cdx.json"
(cd "$dist" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
(cd "$dist" && du --apparent-size --block-size=kB -- *)
