#!/usr/bin/env bash
# What tpu_vm.sh has every worker of a slice do. Runs on the worker, from the copy of the project in ~/painjax.
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd)
folder=${PAINJAX_RUN:-$HOME/painjax-run} # of the training: log, pid, and status when it has ended
watch_s=${PAINJAX_WATCH_S:-20}           # how long to look out for a training that fails at once

say() { printf '%s: %s\n' "$(hostname)" "$*"; }

is_running() { [[ -s $folder/pid && ! -e $folder/status ]] && kill -0 "$(<"$folder/pid")" 2>/dev/null; }

install() { # [BUCKET]
  cd "$project"
  # uv brings a Python that is new enough, whatever the image has.
  command -v "$HOME/.local/bin/uv" >/dev/null || python3 -m pip install --quiet --user uv
  [[ -d .venv ]] || "$HOME/.local/bin/uv" venv --quiet --python=3.12 .venv
  "$HOME/.local/bin/uv" pip install --quiet --python=.venv/bin/python 'jax[tpu]' -e .
  [[ -z ${1:-} ]] || mount_bucket "$1"
  say installed
}

mount_bucket() {
  if ! command -v gcsfuse >/dev/null; then
    local source=https://packages.cloud.google.com/apt key=/usr/share/keyrings/cloud.google.asc
    curl -fsS "$source/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
    echo "deb [signed-by=$key] $source gcsfuse-$(lsb_release -cs) main" | sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    sudo apt-get update -qq && sudo apt-get install -qq -y gcsfuse >/dev/null
  fi
  mkdir -p "$HOME/bucket"
  # A finished checkpoint is a folder renamed, which a bucket without hierarchical namespace does only when allowed to.
  mountpoint -q "$HOME/bucket" || gcsfuse --implicit-dirs --rename-dir-limit=100000 "$1" "$HOME/bucket"
}

start() { # SUBCOMMAND ARGUMENT...
  if is_running; then
    say "a training is running already, process $(<"$folder/pid"); stop it first" >&2
    exit 2
  fi
  mkdir -p "$folder"
  rm -f "$folder/status" "$folder/pid"
  cd "$project"
  [[ " $* " == *" --distributed "* ]] || set -- "$@" --distributed
  # shellcheck disable=SC2016  # the inner shell expands it
  setsid nohup bash -c '"${@:2}" & echo $! >"$1/pid"; code=0; wait $! || code=$?; echo $code >"$1/status"' \
    - "$folder" .venv/bin/painjax "$@" >"$folder/log" 2>&1 </dev/null &
  local end=$((SECONDS + watch_s))
  while ((SECONDS < end)) && [[ ! -e $folder/status ]]; do sleep 0.5; done
  status
}

status() {
  local code
  if is_running; then
    say "running, process $(<"$folder/pid"): $(tail -c 300 "$folder/log" 2>/dev/null | tr '\r' '\n' | tail -n 1)"
  elif [[ ! -e $folder/status ]]; then
    say "no training has ended here; none is running"
  else
    code=$(<"$folder/status")
    case $code in
      0) say "finished" ;;
      143) say "stopped, and saved; the same command goes on from there" ;;
      *)
        say "failed with status $code; the end of its log:"
        tail -n 20 "$folder/log"
        return "$code"
        ;;
    esac
  fi
}

logs() {
  [[ -s $folder/log ]] || { say "there is no log: no training was started here" && return; }
  if is_running; then
    tail -n 50 -f --pid="$(<"$folder/pid")" "$folder/log"
  else
    tail -n 50 "$folder/log"
  fi
}

stop() {
  is_running || { say "no training is running" && return; }
  kill -TERM "$(<"$folder/pid")"
  while is_running || [[ ! -e $folder/status ]]; do sleep 0.5; done
  status
}

"$@"
