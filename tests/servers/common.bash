# What the scripts beside this file share. Sourced, not run: it expects `set -euo pipefail`, and `name` set to the script's own name.
: "${name:?}"

# Where running servers are kept: below cargo's target folder, which no commit ever holds.
servers_root() {
  local top
  top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  local target=${CARGO_TARGET_DIR:-$top/target}
  case $target in /*) ;; *) target=$top/$target ;; esac
  printf '%s/servers' "$target"
}

# Where downloads are kept: outside of the repository, so that a fresh clone finds them. DOORBUSTER_SERVERS names another folder.
downloads_root() {
  if [ -n "${DOORBUSTER_SERVERS:-}" ]; then
    printf '%s' "$DOORBUSTER_SERVERS"
  elif [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ]; then
    printf '%s/doorbuster' "${XDG_CACHE_HOME:-$HOME/.cache}"
  else
    servers_root
  fi
}

say() { printf '%s: %s\n' "$name" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# Installs Debian packages where this user may; otherwise fails and says what would have to be there.
install_packages() {
  local become=()
  command -v apt-get >/dev/null 2>&1 || die "needs $*, and there is no apt-get here to install it with"
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true >/dev/null 2>&1 || die "needs $*, and may not install it: run apt-get install $*"
    become=(sudo -n)
  fi
  # One at a time: the servers are fetched side by side, and apt-get has one lock.
  mkdir -p "$(servers_root)"
  (
    flock 8
    say "installing $*"
    "${become[@]}" apt-get update -qq >&2 || say 'apt-get update failed: trying with the lists that are there'
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
  ) 8>"$(servers_root)/apt-get.lock" || die "could not install $*"
}

# A port that the system gave out as free on each of the addresses, and that nobody holds any more. Somebody else may take it before the server
# does: whoever starts a server tries again then.
free_port() {
  perl -MIO::Socket::INET -e '
    for (1 .. 50) {
      my ($port, @held) = (0);
      for my $address (@ARGV) {
        my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => $address, LocalPort => $port) or last;
        $port = $socket->sockport;
        push @held, $socket;
      }
      if (@held == @ARGV) { print $port; exit 0 }
    }
    exit 1' "$@" || die "the system gave no free port on $*"
}

# Whether the process of a pid file is still there and still ours: its command line names the folder, so a number that the system gave
# to somebody else in the meantime is never killed.
alive() {
  local pid_file=$1 folder=$2 pid
  [ -s "$pid_file" ] || return 1
  pid=$(cat "$pid_file")
  # A process that has ended and waits for its parent (a container without an init) is not alive.
  case $(ps -o stat= -p "$pid" 2>/dev/null) in '' | Z*) return 1 ;; esac
  # Not through `grep -q`: it would end the pipe early, and pipefail make that a failure.
  case $(ps -ww -o args= -p "$pid" 2>/dev/null) in *"$folder"*) return 0 ;; *) return 1 ;; esac
}

# Ends the process of a pid file at once: what it stored is thrown away with its folder, so a gentle end would only take longer. A process
# that a test has stopped with SIGSTOP dies of SIGKILL too.
end_process() {
  local pid_file=$1 folder=$2 _
  if alive "$pid_file" "$folder"; then
    kill -KILL "$(cat "$pid_file")" 2>/dev/null || true
    for _ in $(seq 100); do
      alive "$pid_file" "$folder" || break
      sleep 0.05
    done
  fi
  if alive "$pid_file" "$folder"; then die "process $(cat "$pid_file") did not end"; fi
  rm -f "$pid_file"
}

# Stops what runs in `folder` once the process `owner` is gone, however it went: a test run that was itself killed leaves nothing behind. Ends by itself when
# the folder is removed, which `stop` does.
watch_owner() {
  local owner=$1 folder=$2 script=$3
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid nohup bash -c '
    while [ -d "$2" ] && kill -0 "$1" 2>/dev/null; do sleep 1; done
    [ ! -d "$2" ] || exec bash "$3" stop --dir "$2"' watch "$owner" "$folder" "$script" >/dev/null 2>&1 </dev/null &
}
