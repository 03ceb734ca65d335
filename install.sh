#!/bin/sh
# Installs cgn, with the Node that runs it, below a prefix: Linux (x86_64, aarch64; glibc) and macOS.
# How to use it: sh install.sh --help
#
# Nothing is used that the release's key has not signed: the signature is that of SHA256SUMS, which has the checksum of
# the bundle. Without a key in this file nothing is installed. What fails leaves things as they were.
set -eu
umask 022

# Whoever publishes releases writes both here, and commits: where they lie, and the public half of the key that signs
# them, in PEM (openssl ec -in release.key -pubout), its lines as they are between the quotes.
release_url=''
release_key=''

# Of a download: 1 GiB, and no less than 1 KiB/s for a minute.
bytes_max=1073741824

usage() {
  cat <<'END'
Installs cgn, with the Node that runs it.

  sh install.sh                 install, or upgrade to, the newest release
  sh install.sh --rollback      back to the version before
  sh install.sh --uninstall     remove the program; data stays

  CGN_VERSION   the version to install, older ones too (default: the newest)
  CGN_PREFIX    where to (default: ~/.local); the command is PREFIX/bin/cgn
  CGN_BASE_URL  a mirror of the releases
END
}

say() { printf '%s\n' "$1"; }

# What is wrong, then lines that say what to do.
fail() {
  printf 'install.sh: %s\n' "$1" >&2
  shift
  for line; do printf '  -> %s\n' "$line" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

prefix=
home=
cache=
staging=
landed=
made=
child=
version=
removing=

# However it ends: a child of ours ends, what was staged goes, and so do folders that were made for nothing.
cleanup() {
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null || :
    wait "$child" 2>/dev/null || :
  fi
  [ -z "$staging" ] || rm -rf "$staging" "$prefix/bin/.cgn.$$"
  # Once the command runs it, it stays.
  [ -z "$landed" ] || [ "$(installed_version)" = "$version" ] || rm -rf "$landed"
  case $made in
    *"$home
"*) rm -f "$home/folders" ;;
  esac
  remove_folders "$made"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command that a signal to us may interrupt.
run() {
  "$@" &
  child=$!
  status=0
  wait "$child" || status=$?
  child=
  return "$status"
}

# Where a server says no length, what is written has a bound all the same.
bounded() {
  ulimit -S -f $((bytes_max / 512)) 2>/dev/null || :
  exec "$@"
}

remove_folders() { # LINES: the innermost first, and only empty ones
  printf '%s' "$1" | sort -r | while IFS= read -r folder; do rmdir "$folder" 2>/dev/null || :; done
}

make_folder() {
  [ ! -d "$1" ] || return 0
  make_folder "$(dirname "$1")"
  if mkdir "$1" 2>/dev/null; then
    made="$made$1
"
    return
  fi
  # Another one may have made it meanwhile.
  [ -d "$1" ] || fail "The folder $1 cannot be made." \
    "choose a prefix that you may write: CGN_PREFIX=\$HOME/.local sh install.sh" "or run it as root"
}

name_target() {
  case $(uname -s) in
    Linux) system=linux ;;
    Darwin) system=darwin ;;
    *) fail "There is no release for $(uname -s)." 'use Linux or macOS' ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) target=$system-amd64 ;;
    aarch64 | arm64) target=$system-arm64 ;;
    *) fail "There is no release for the processor $(uname -m)." 'use x86_64 or aarch64' ;;
  esac
}

need_tools() {
  for tool in tar gzip openssl; do
    have "$tool" || fail "$tool is missing." "Debian, Ubuntu: apt-get install $tool" "Fedora, RHEL: dnf install $tool"
  done
  have curl || have wget || fail 'curl and wget are missing.' 'Debian, Ubuntu: apt-get install curl ca-certificates'
}

# NAME FILE: one file of the releases. Fails with the words of what fetched it.
fetch() {
  if have curl; then
    set -- "$1" "$2" curl -fsSL --connect-timeout 15 --speed-limit 1024 --speed-time 60 --max-filesize "$bytes_max" \
      --retry 2 -o "$2" "$base/$1"
  else
    set -- "$1" "$2" wget -q -T 60 -O "$2" "$base/$1"
  fi
  name=$1
  shift 2
  run bounded "$@" >"$staging/said" 2>&1 && return 0
  sed 's/^/  /' "$staging/said" >&2
  return 1
}

download() { # NAME: or fails
  fetch "$1" "$staging/${1##*/}" || fail "$name could not be downloaded from $base." \
    'is the network up, the disk not full, and is the version right? Nothing was installed; try again'
}

sum_of() { openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1; }

check_signature() {
  fetch "$version/SHA256SUMS.sig" "$staging/SHA256SUMS.sig" || fail "Release $version has no signature at $base." \
    'nothing was installed; use the releases of who gave you this script'
  printf '%s\n' "$release_key" >"$staging/key"
  openssl base64 -d -A <"$staging/SHA256SUMS.sig" >"$staging/signature" 2>/dev/null || :
  openssl dgst -sha256 -verify "$staging/key" -signature "$staging/signature" "$staging/SHA256SUMS" \
    >/dev/null 2>&1 || fail "SHA256SUMS of $version is not signed by the release's key." \
    'nothing was installed: the files may have been changed; get this script and the release from their publisher'
}

check_sum() { # FILE
  wanted=$(awk -v name="$1" '$2 == name { print $1 }' "$staging/SHA256SUMS")
  [ -n "$wanted" ] || fail "The signed sums at $base/$version are of no $1." \
    'the mirror has another release there, or none for this machine; nothing was installed'
  download "$version/$1"
  [ "$(sum_of "$staging/$1")" = "$wanted" ] || fail "$1 is not what was signed: its checksum differs." \
    'the download was cut or changed; nothing was installed; try again, or from another mirror'
}

# The version that PREFIX/bin/cgn runs; nothing where it is not there.
installed_version() {
  link=$(readlink "$prefix/bin/cgn" 2>/dev/null) || link=
  case $link in
    ../lib/cognitora/*/bin/cgn) link=${link#../lib/cognitora/} && printf '%s' "${link%/bin/cgn}" ;;
  esac
}

check_command() {
  [ ! -e "$prefix/bin/cgn" ] && [ ! -h "$prefix/bin/cgn" ] && return
  [ -n "$(installed_version)" ] || fail "$prefix/bin/cgn is there and was not installed by this script." \
    'move it away, or choose another CGN_PREFIX'
}

is_older() { # A B: by the numbers of a version; one with a dash is before the same without
  printf '%s\n%s\n' "$1" "$2" | awk '{
    dash = index($0, "-"); number = dash ? substr($0, 1, dash - 1) : $0; split(number, part, ".")
    value[NR] = sprintf("%09d.%09d.%09d.%d.%s", part[1], part[2], part[3], dash ? 0 : 1, dash ? substr($0, dash) : "")
  } END { exit !(value[1] < value[2]) }'
}

check_version() {
  case $version in
    '' | *[!0-9A-Za-z.+-]* | [!0-9]*)
      # It may be what a server said, to a terminal.
      shown=$(printf '%s' "$version" | LC_ALL=C tr -cd ' -~' | cut -c 1-40)
      [ -n "${CGN_VERSION:-}" ] || fail "\"$shown\" is no version; the server at $base says it is the newest." \
        'is that a place of releases? Name a version, or another place: CGN_VERSION=0.1.0 CGN_BASE_URL=https://mirror'
      fail "\"$shown\" is no version." 'such as: CGN_VERSION=0.1.0 sh install.sh'
      ;;
  esac
}

# One at a time: the staging folder is the lock, and says whose.
take_staging() {
  if ! mkdir "$home/staging" 2>/dev/null; then
    [ -d "$home/staging" ] || fail "$home cannot be written." 'use another CGN_PREFIX, or run it as root'
    owner=$(cat "$home/staging/pid" 2>/dev/null) || owner=
    if [ -z "$owner" ]; then
      # One that begins just now has said it by then.
      sleep 1
      owner=$(cat "$home/staging/pid" 2>/dev/null) || owner=
    fi
    if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
      fail "Another install.sh (process $owner) is at work in $prefix." "wait for it, or remove $home/staging"
    fi
    # What one that was killed left.
    rm -rf "$home/staging"
    mkdir "$home/staging" || fail "$home cannot be written." 'use another CGN_PREFIX, or run it as root'
  fi
  staging=$home/staging
  printf '%s\n' "$$" >"$staging/pid" || [ -n "$removing" ] || fail "$staging cannot be written." 'is the disk full?'
}

unpack() { # FILE
  run tar -xzof "$staging/$1" -C "$staging" 2>"$staging/said" || {
    sed 's/^/  /' "$staging/said" >&2
    fail "$1 could not be unpacked in $staging." 'is the disk full? It takes 400 MB; nothing was installed'
  }
  fresh=$staging/cognitora-$version
  says=$(says_version "$fresh")
  case $says in
    "cgn $version") ;;
    'cgn '[0-9]*)
      fail "What was released as $version says that it is $says." \
        'whoever publishes it must build it again; nothing was installed; name another one in CGN_VERSION'
      ;;
    *)
      fail "cgn $version does not run on this machine: $says" \
        'on Linux it needs glibc 2.35 and libstdc++ of GCC 12: Debian 12, Ubuntu 22.04 or newer; nothing was installed'
      ;;
  esac
}

# From one version to another in one step: whoever runs cgn meanwhile has the old one or the new one.
switch_to() {
  # Of two that began at once, the one that gave up may have taken it along.
  mkdir -p "$prefix/bin"
  ln -s "../lib/cognitora/$1/bin/cgn" "$prefix/bin/.cgn.$$"
  mv -f "$prefix/bin/.cgn.$$" "$prefix/bin/cgn"
}

# Only these two stay: the version that runs and the one before. What begins with no digit is no version.
remove_versions_but() { # CURRENT BEFORE
  for folder in "$home"/[0-9]*/; do
    folder=${folder%/}
    case ${folder##*/} in
      "$1" | "$2") ;;
      *) rm -rf "$folder" ;;
    esac
  done
}

# Whether that version is here and whole.
runs() { [ "$(says_version "$home/$1")" = "cgn $1" ]; }

# Its word for its version, or why it does not run. Leaves nothing behind but what lies in the staging folder.
says_version() {
  NODE_COMPILE_CACHE="$staging/compiled" "$1/bin/cgn" --version 2>&1 </dev/null || :
}

# What runs of all that is installed here, where the system tells: its pid and version, one a line.
running() {
  place=$(cd "$home" && pwd -P)
  for exe in /proc/[0-9]*/exe; do
    program=$(readlink "$exe" 2>/dev/null) || continue
    case $program in
      "$place"/*)
        pid=${exe#/proc/}
        program=${program#"$place"/}
        say "${pid%/exe} ${program%%/*}"
        ;;
    esac
  done
}

# Who goes on as another version than that one.
tell_running() { # CURRENT
  running | awk -v current="$1" '$2 != current { pids[$2] = pids[$2] " " $1 } END {
    for (version in pids) print "  -> cgn " version " goes on until it is restarted: pid" pids[version]
  }'
}

# Downloads, checks and unpacks that version.
bring() {
  download "$1/SHA256SUMS"
  check_signature
  bundle=cognitora-$1-$target.tar.gz
  check_sum "$bundle"
  unpack "$bundle"
  [ ! -e "$home/$1" ] || mv "$home/$1" "$staging/broken"
  landed=$home/$1
  mv "$fresh" "$landed"
}

install() {
  [ -n "$release_key" ] || fail 'This script has no release key, so it can check no release.' \
    'none was published with it; from a clone: npm ci && npm start' 'who publishes: docs/design/0012-release.md'
  base=${CGN_BASE_URL:-$release_url}
  base=${base%/}
  [ -n "$base" ] || fail 'This script names no place of releases.' 'set CGN_BASE_URL to one'
  name_target
  need_tools
  check_command
  make_folder "$home"
  make_folder "$prefix/bin"
  # cgn makes it, for compiled code.
  [ -d "$cache" ] || made="$made$cache
"
  [ -z "$made" ] || printf '%s' "$made" >>"$home/folders"
  take_staging
  version=${CGN_VERSION:-}
  if [ -z "$version" ]; then
    download latest
    version=$(head -n 1 "$staging/latest")
  fi
  version=${version#v}
  check_version
  before=$(installed_version)
  if [ -z "${CGN_VERSION:-}" ] && [ -n "$before" ] && is_older "$version" "$before"; then
    fail "The newest release at $base is $version, older than $before, which is installed." \
      "where you want it all the same: CGN_VERSION=$version sh install.sh"
  fi
  # What is there and runs was checked when it came.
  runs "$version" || bring "$version"
  switch_to "$version"
  landed=
  made=
  if [ -n "$before" ] && [ "$before" != "$version" ]; then printf '%s\n' "$before" >"$home/before"; fi
  remove_versions_but "$version" "$(cat "$home/before" 2>/dev/null)"
  say "cgn $version is installed: $prefix/bin/cgn"
  case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) say "  -> add it to your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
  esac
  [ -z "$before" ] || [ "$before" = "$version" ] || say "  -> back to $before: sh $home/$version/install.sh --rollback"
  tell_running "$version"
  say '  -> begin with: cgn up'
}

need_installed() {
  [ -d "$home" ] || fail "Nothing is installed in $prefix." \
    "name where it is: CGN_PREFIX=/opt/cognitora sh install.sh $1"
}

rollback() {
  need_installed --rollback
  take_staging
  before=$(cat "$home/before" 2>/dev/null) || before=
  if [ -z "$before" ] || ! runs "$before"; then
    fail "$prefix has no version before this one." 'name one: CGN_VERSION=0.1.0 sh install.sh'
  fi
  current=$(installed_version)
  switch_to "$before"
  printf '%s\n' "$current" >"$home/before"
  say "cgn $before runs again: $prefix/bin/cgn (--rollback once more: $current)"
  tell_running "$before"
}

# What is removed under it would go on without its files.
refuse_running() {
  pid=$(running | awk 'NR == 1 { print $1 }')
  [ -z "$pid" ] || fail "cgn still runs (pid $pid)." \
    'end it first: cgn recipe down, Ctrl-C of cgn up, or systemctl stop of its services'
}

uninstall() {
  need_installed --uninstall
  # Also where the disk is full: it makes room.
  removing=yes
  take_staging
  refuse_running
  [ -z "$(installed_version)" ] || rm -f "$prefix/bin/cgn"
  folders=$(cat "$home/folders" 2>/dev/null) || folders=
  remove_versions_but '' ''
  rm -rf "$home/staging"
  rm -f "$home/before" "$home/folders"
  [ -h "$home" ] || rmdir "$home" 2>/dev/null || :
  rm -rf "$cache/cognitora/compiled"
  rmdir "$cache/cognitora" 2>/dev/null || :
  remove_folders "$folders"
  say "cgn is removed from $prefix."
  for unit in /etc/systemd/system/cognitora-*.service; do
    [ ! -e "$unit" ] || say "  -> a service is still there: systemctl disable --now ${unit##*/} && rm $unit"
  done
  for kept in "$home" "${HOME:-}/.cognitora" "$cache/cognitora/models" /etc/cognitora /var/lib/cognitora; do
    [ ! -e "$kept" ] || say "  -> kept: $kept; remove it where you need it no more"
  done
}

main() {
  [ $# -le 1 ] || fail "One option at most is taken, not $#: $*" 'sh install.sh --help'
  if [ "${1:-}" = --help ]; then
    usage
    return
  fi
  prefix=${CGN_PREFIX:-${HOME:+$HOME/.local}}
  [ -n "$prefix" ] || fail 'HOME is not set.' 'name a prefix: CGN_PREFIX=/opt/cognitora sh install.sh'
  case $prefix in
    /*) ;;
    *) fail "CGN_PREFIX is no absolute path: $prefix" "such as: CGN_PREFIX=$(pwd)/$prefix" ;;
  esac
  prefix=${prefix%/}
  home=$prefix/lib/cognitora
  cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
  case ${1:-} in
    '') install ;;
    --rollback) rollback ;;
    --uninstall) uninstall ;;
    *) fail "There is no option $1." 'sh install.sh --help' ;;
  esac
}

# Last: a script that was cut on its way does nothing.
main "$@"
