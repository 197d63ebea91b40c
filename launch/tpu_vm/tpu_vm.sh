#!/usr/bin/env bash
# Trains PainJAX on a Cloud TPU slice: makes it, installs, runs the same `painjax train` on every worker, deletes it.
# launch/tpu_vm/README.md explains; worker.sh is the part that runs on the TPU's machines.
set -euo pipefail

usage() {
  cat <<'END'
Usage: launch/tpu_vm/tpu_vm.sh [--dry-run] COMMAND NAME [--option=value ...] [-- train --config=... --workdir=...]

  up       create, wait, install and run, one after the other; the same command again resumes after a preemption
  create   ask for the slice (a queued resource): --type=v5litepod-16 [--spot] [--runtime=...] [--valid-until=6h]
  wait     until it is there
  install  copy this project to all workers and install it: [--bucket=NAME mounts gs://NAME at ~/bucket]
  run      start `painjax <what follows --> --distributed` on all workers, and leave it running
  status   of the slice, and of the training on every worker
  logs     of the training, as it goes on: [--worker=0]
  stop     tell the training to save and end
  delete   give the slice back. It costs money until then

  --zone=ZONE (or TPU_ZONE) and --project=PROJECT (default: gcloud's) say where.
  --dry-run prints every gcloud command and runs none.
END
}

die() { # A mistake or refusal, in one paragraph.
  printf 'tpu_vm.sh: %s\n' "$*" >&2
  exit 2
}

# ---------------------------------------------------------------- what is asked for
dry_run=false name='' type='' runtime='' spot=false valid_until='' bucket='' worker=0
zone=${TPU_ZONE:-} project=''
poll_s=${TPU_POLL_S:-30}
painjax_command=() words=()
while (($#)); do
  case $1 in
    --) shift && painjax_command=("$@") && break ;;
    --dry-run) dry_run=true ;;
    --spot) spot=true ;;
    --type=?*) type=${1#*=} ;;
    --runtime=?*) runtime=${1#*=} ;;
    --valid-until=?*) valid_until=${1#*=} ;;
    --bucket=?*) bucket=${1#*=} bucket=${bucket#gs://} bucket=${bucket%/} ;;
    --worker=?*) worker=${1#*=} ;;
    --zone=?*) zone=${1#*=} ;;
    --project=?*) project=${1#*=} ;;
    -h | --help) usage && exit 0 ;;
    -*) die "unknown option $1; options are written --option=value, see $0 --help" ;;
    *) words+=("$1") ;;
  esac
  shift
done
command=${words[0]:-} name=${words[1]:-}
[[ -n $command ]] || { usage >&2 && exit 2; }
[[ $command =~ ^(up|create|wait|install|run|status|logs|stop|delete)$ ]] ||
  die "unknown command $command; expected up, create, wait, install, run, status, logs, stop or delete, see $0 --help"
((${#words[@]} <= 2)) || die "too many words: ${words[*]:2}; the command of painjax stands after --"
[[ $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
  die "the NAME of the slice is '$name'; expected small letters, digits and -, for instance: $0 $command pain-1 ..."
[[ -n $zone ]] || die "no zone: add --zone=us-west4-a, or whichever has your quota, or set TPU_ZONE"
where=("--zone=$zone" ${project:+"--project=$project"})

check_slice() {
  [[ -n $type ]] || die "no --type: add --type=v5litepod-16, or whichever accelerator type you have quota for"
  [[ -n $runtime ]] && return
  case $type in # cloud.google.com/tpu/docs/runtimes
    v6e-*) runtime=v2-alpha-tpuv6e ;;
    v5p-*) runtime=v2-alpha-tpuv5 ;;
    v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
    v[234]-*) runtime=tpu-ubuntu2204-base ;;
    *) die "--type=$type is not one that this script knows a --runtime for; add --runtime=..., from cloud.google.com/tpu/docs/runtimes" ;;
  esac
}

check_painjax_command() {
  [[ ${painjax_command[0]:-} =~ ^(train|evaluate)$ ]] ||
    die "after -- stands '${painjax_command[0]:-}'; expected train or evaluate and its arguments: $0 $command $name ... -- train --config=configs/teacher.py --workdir=../bucket/runs/teacher"
  local argument
  for argument in "${painjax_command[@]}"; do
    [[ $argument != *=gs://* ]] ||
      die "$argument: PainJAX reads and writes folders, not gs:// addresses. Mount the bucket with --bucket=NAME at install, and write ../bucket/... instead"
  done
}

# ---------------------------------------------------------------- gcloud
quoted() { # As one would type it in a shell.
  local word line=''
  for word in "$@"; do
    [[ $word =~ ^[-a-zA-Z0-9_./:=@,+]+$ ]] || word="'${word//"'"/"'\\''"}'"
    line+=" $word"
  done
  printf '%s' "${line# }"
}

show() { printf 'gcloud %s\n' "$(quoted "$@")"; }

# Runs gcloud, and says of its usual refusals what to do about them.
tpus() {
  if $dry_run; then show compute tpus "$@" && return; fi
  local errors status=0
  errors=$(mktemp)
  gcloud compute tpus "$@" 2>"$errors" || status=$?
  cat "$errors" >&2
  if ((status)); then
    local text
    text=$(<"$errors")
    rm -f "$errors"
    die "$(advice "$text")"
  fi
  rm -f "$errors"
}

advice() {
  case $1 in
    *[Qq]uota* | *RESOURCE_EXHAUSTED*) echo "Google refuses for lack of quota. See console.cloud.google.com/iam-admin/quotas for 'TPU' in $zone: ask there for more, or take a smaller --type, another --zone, or --spot, which has a quota of its own." ;;
    *NOT_FOUND* | *"not found"*) echo "There is no $name in $zone${project:+ of $project}. It may be spelt otherwise, in another --zone, deleted or preempted; '$0 create $name ...' makes it." ;;
    *PERMISSION_DENIED* | *[Pp]ermission*) echo "You may not do this in ${project:-this project}: the TPU API must be enabled (gcloud services enable tpu.googleapis.com) and your account needs the role TPU Admin." ;;
    *"active account"* | *"auth login"* | *credentials*) echo "gcloud does not know who you are: run 'gcloud auth login' and 'gcloud config set project PROJECT' once." ;;
    *ALREADY_EXISTS* | *"already exists"*) echo "$name exists in $zone already: '$0 status $name' shows it." ;;
    *"no more capacity"* | *"stockout"* | *UNAVAILABLE*) echo "Google has no such TPU free in $zone now; try again, or another --zone." ;;
    *) echo "gcloud failed, see above. '$0 status $name' shows what there is." ;;
  esac
}

# The state of the queued resource, empty if there is none.
state() {
  local text
  if text=$(gcloud compute tpus queued-resources describe "$name" "${where[@]}" '--format=value(state.state)' 2>&1); then
    tail -n 1 <<<"$text"
  elif [[ $text != *NOT_FOUND* && $text != *"not found"* ]]; then
    printf '%s\n' "$text" >&2
    die "$(advice "$text")"
  fi
}

on_worker() { # WORKER WORD...: has worker.sh do it
  local which=$1 line
  shift
  line="bash painjax/launch/tpu_vm/worker.sh $(quoted "$@")"
  if $dry_run; then
    show compute tpus tpu-vm ssh "$name" "${where[@]}" "--worker=$which" "--command=$line"
    return
  fi
  local status=0 now
  gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" "--worker=$which" "--command=$line" || status=$?
  ((status)) || return 0
  now=$(state)
  [[ $now == ACTIVE ]] || die "$name is ${now:-gone}: it was preempted or deleted. $(resume)"
  die "'$1' failed on a worker, see above; '$0 logs $name --worker=0' shows the training's last words."
}

resume() {
  echo "Nothing since the last checkpoint in the bucket is lost to the same '$0 up $name ...': it asks for the slice again and goes on from there."
}

# ---------------------------------------------------------------- commands
create() {
  check_slice
  local flags=("--node-id=$name" "--accelerator-type=$type" "--runtime-version=$runtime")
  if $spot; then flags+=(--spot); fi
  [[ -z $valid_until ]] || flags+=("--valid-until-duration=$valid_until")
  if ! $dry_run; then
    local now
    now=$(state)
    case $now in
      '') ;;
      SUSPEND* | FAILED)
        echo "$name is $now: deleting what is left of it, and asking again."
        delete
        ;;
      *) echo "$name exists already: $now." && return ;;
    esac
  fi
  tpus queued-resources create "$name" "${where[@]}" "${flags[@]}"
  $dry_run || echo "Asked for $name. It costs money from when it is there until: $0 delete $name --zone=$zone${project:+ --project=$project}"
}

wait_until_active() {
  if $dry_run; then show compute tpus queued-resources describe "$name" "${where[@]}" '--format=value(state.state)' && return; fi
  local now before=''
  while true; do
    now=$(state)
    [[ $now == "$before" ]] || echo "$(date +%T) $name: ${now:-absent}"
    before=$now
    case $now in
      ACTIVE) return ;;
      '') die "There is no $name in $zone. '$0 create $name ...' asks for it." ;;
      FAILED) die "Google could not give $name (no capacity before --valid-until, or a wrong --type in this --zone); gcloud compute tpus queued-resources describe $name ${where[*]} says why. '$0 create' with the same options asks again." ;;
      SUSPEND* | DELETING) die "$name is $now: it was preempted or deleted. $(resume)" ;;
    esac
    sleep "$poll_s"
  done
}

install() {
  local root folder archive
  root=$(cd "$(dirname "$0")/../.." && pwd)
  folder=$(mktemp -d)
  archive=$folder/painjax.tar.gz
  # The files that git knows, as they are now: your changes go along, build leftovers do not.
  (cd "$root" && git ls-files -z | while IFS= read -r -d '' f; do if [[ -e $f ]]; then printf '%s\0' "$f"; fi; done | tar --null -T - -czf "$archive")
  tpus tpu-vm scp "$archive" "$name:painjax.tar.gz" "${where[@]}" --worker=all
  local unpack='mkdir -p painjax && tar -xzf painjax.tar.gz -C painjax'
  tpus tpu-vm ssh "$name" "${where[@]}" --worker=all "--command=$unpack"
  rm -r "$folder"
  on_worker all install ${bucket:+"$bucket"}
}

run() {
  check_painjax_command
  on_worker all start "${painjax_command[@]}"
  $dry_run || echo "Running on all workers. Look: $0 logs $name --zone=$zone${project:+ --project=$project}"
}

status() {
  $dry_run || echo "$name: $(state)"
  on_worker all status
}

remind() { # Whatever ends `up` half-way, Ctrl-C too.
  local status=$?
  ((status == 0)) || printf 'tpu_vm.sh: %s stays, and costs money while it does. Mend the above and say up again, or: %s\n' \
    "$name" "$0 delete $name --zone=$zone${project:+ --project=$project}" >&2
}

delete() {
  tpus queued-resources delete "$name" "${where[@]}" --force --quiet
}

$dry_run || command -v gcloud >/dev/null ||
  die "gcloud is not installed: cloud.google.com/sdk/docs/install, then 'gcloud auth login'. --dry-run shows what would be done without it."
case $command in
  up)
    check_slice
    check_painjax_command
    create
    $dry_run || trap remind EXIT
    wait_until_active
    install
    run
    ;;
  wait) wait_until_active ;;
  logs) on_worker "$worker" logs ;;
  stop) on_worker all stop ;;
  *) "$command" ;;
esac
