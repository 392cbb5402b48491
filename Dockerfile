# The image of wazzup-sync: one static binary, CA certificates, a sample configuration. No shell, no packages, no root.
#
#   docker build --tag wazzup-sync .                          the daemon
#   docker build --tag wazzup-sandbox --target sandbox .      the stand-in for Wazzup, to try things out
#
# Nothing here needs BuildKit; docker, buildah and podman build it, on amd64 and arm64.

# Debian's glibc links statically, so the result runs on an empty file system.
ARG RUST_IMAGE=rust:1.95-slim-bookworm

# ---- All dependencies, with empty crates of ours: built anew only when the manifests change ----------------------------
FROM ${RUST_IMAGE} AS dependencies
WORKDIR /build
# An explicit target (here the builder's own, whichever it is) keeps `crt-static` away from procedural macros, which
# cannot be static. The SQL was checked against a database before it was committed: the image is built without one.
ENV CARGO_BUILD_TARGET=host-tuple \
    RUSTFLAGS="-C target-feature=+crt-static" \
    SQLX_OFFLINE=true
COPY Cargo.toml Cargo.lock ./
COPY benches/Cargo.toml benches/
COPY packaging/assets/Cargo.toml packaging/assets/
COPY tests/postgres/Cargo.toml tests/postgres/
COPY tests/pure/Cargo.toml tests/pure/
COPY tests/sandbox/Cargo.toml tests/sandbox/
RUN for crate in . tests/postgres tests/pure tests/sandbox; do \
        mkdir "$crate/src" && touch "$crate/src/lib.rs" && echo 'fn main() {}' >"$crate/src/main.rs"; \
    done \
    && cargo build --release --locked --bin wazzup-sync

# ---- The daemon ----------------------------------------------------------------------------------------------------------
FROM dependencies AS build
COPY build.rs sqlx.toml ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY config config
COPY src src
# Declared no earlier: a new revision must not build the dependencies anew.
ARG WAZZUP_SYNC_REVISION=unknown
# Copied files keep their time stamps, which can be older than the empty crates: without `touch`, those would be shipped.
# Without nsswitch.conf glibc asks DNS before /etc/hosts, and so before compose's `extra_hosts` or a pod's `hostAliases`.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin wazzup-sync \
    && install -D target/*/release/wazzup-sync /image/usr/local/bin/wazzup-sync \
    && mkdir /image/etc \
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf

# ---- The stand-in for Wazzup -----------------------------------------------------------------------------------------------
FROM dependencies AS build-sandbox
COPY tests/sandbox/src tests/sandbox/src
RUN touch tests/sandbox/src/lib.rs tests/sandbox/src/main.rs \
    && cargo build --release --locked --package sandbox \
    && install -D target/*/release/sandbox /image/usr/local/bin/sandbox

FROM scratch AS sandbox
COPY --from=build-sandbox /image /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sandbox"]
CMD ["--listen", "0.0.0.0:8080"]

# ---- The image -------------------------------------------------------------------------------------------------------------
FROM scratch AS wazzup-sync
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image /
COPY LICENSE config/wazzup-sync.toml /usr/share/doc/wazzup-sync/
# `docker exec NAME wazzup-sync status`
ENV PATH=/usr/local/bin \
    WAZZUP_SYNC_CONFIG=/etc/wazzup-sync/wazzup-sync.toml
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/wazzup-sync"]
CMD ["run"]
# It reads the state database only. The first cycle of a large company takes a while: until then a failure does not count.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 \
    CMD ["/usr/local/bin/wazzup-sync", "healthcheck"]
ARG WAZZUP_SYNC_VERSION=unknown
ARG WAZZUP_SYNC_REVISION=unknown
LABEL org.opencontainers.image.title="wazzup-sync" \
      org.opencontainers.image.description="Keeps a company's Wazzup users in step with the employee table of its CRM, one way" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${WAZZUP_SYNC_VERSION}" \
      org.opencontainers.image.revision="${WAZZUP_SYNC_REVISION}"
