# shellcheck shell=bash
# To be sourced: programs that a script needs and that are no dependencies of ours.

# tool CRATE VERSION: puts the crate's program on the PATH. It is built once and kept; without optimization, since
# building it would take far longer than it will ever run.
tool() {
    local root=${XDG_CACHE_HOME:-$HOME/.cache}/wazzup-sync/$1-$2
    if [ ! -x "$root/bin/$1" ]; then
        echo "$1 $2 is built once, which takes some minutes" >&2
        # Not in our target directory, and not with our lints or flags.
        env -u RUSTFLAGS -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET \
            cargo install --quiet --locked --debug --no-default-features --root "$root" "$1@$2"
    fi
    PATH=$root/bin:$PATH
}
