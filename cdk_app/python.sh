# What the CDK CLI runs (cdk.json): `sh cdk_app/python.sh app.py` starts that file with a Python that has aws-cdk-lib.
# .venv first, which `make` sets up, so that a CLI called by hand works from a fresh clone; else `python` on PATH.
[ -d "${TMPDIR:-/}" ] || unset TMPDIR # Python would take another folder, the CDK's Node would fail
# The CDK's packages are unpacked below the home folder; without one, anew each time.
[ -d "${HOME:-}" ] && [ -w "$HOME" ] || export JSII_RUNTIME_PACKAGE_CACHE=disabled
for python in .venv/bin/python python python3; do
  if command -v "$python" >/dev/null 2>&1 &&
    "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("aws_cdk") is None)' 2>/dev/null; then
    exec "$python" "$@"
  fi
done
echo "error: no Python with aws-cdk-lib here: run \`make synth\` once, which sets up .venv, then try again" >&2
exit 1
