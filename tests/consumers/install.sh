#!/usr/bin/env bash
# Makes the environments of the programs that read exports: install.sh DIRECTORY
# A program that cannot be had here is told, and left out; its tests are then skipped.
set -uo pipefail
home=$(realpath -m "$1")
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$home"

left_out() { echo "left out: $1"; }

environment() { # NAME PYTHON [PACKAGE]: the requirements, and a package without its own
    "$2" -m venv "$home/$1" &&
        "$home/$1/bin/pip" install --quiet --requirement "$here/requirements-$1.txt" &&
        { [ $# -lt 3 ] || "$home/$1/bin/pip" install --quiet --no-deps "$3"; }
}

old_python() { # the newest Python below 3.10, among those on the path or pyenv's
    local found
    for found in python3.9 python3.8 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.[89].*/bin/python; do
        if "$found" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info < (3, 10))' 2>/dev/null
        then
            echo "$found"
            return
        fi
    done
    return 1
}

promptfoo() { # with a Node of its own: it wants a newer one than many systems have
    command -v npm >/dev/null && mkdir -p "$home/promptfoo" && cd "$home/promptfoo" &&
        npm init --yes >/dev/null &&
        npm install --no-audit --no-fund --loglevel=error node@22 promptfoo@0.123.1
}

environment modern "$python" || left_out "lm-eval, TRL, PEFT and DSPy"
environment openprompt "$python" openprompt==1.0.1 || left_out "OpenPrompt"
{ old=$(old_python) && environment promptsource "$old"; } || left_out "PromptSource (Python < 3.10)"
[ -n "${WITHOUT_PROMPTFOO:-}" ] || (promptfoo) || left_out "promptfoo"
# LM-BFF is a project, no package: LM_BFF names a checkout of it.
if [ -d "${LM_BFF:-}/src" ]; then ln -sfn "$(realpath "$LM_BFF")" "$home/lm-bff"
else left_out "LM-BFF (set LM_BFF to a checkout)"; fi
