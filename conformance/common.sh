# Sourced by the scripts below this directory.
# shellcheck shell=bash
conformance=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
repository=$(dirname "$conformance")
# Nothing of what is fetched and built here gets into the repository.
cache=$(readlink -m "${HOIST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/hoist}")

# The Debian release that things are made of. It doesn't depend on the host's.
debian=trixie

say() { printf '==> %s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# The status of a script that says: what it makes, the $subject, is not to be had here.
readonly UNAVAILABLE=77
unavailable() {
    printf '%s: no %s here: %s\n' "$(basename "$0")" "$subject" "$*" >&2
    exit $UNAVAILABLE
}

os_release() { (. /etc/os-release && echo "${!1:-}"); }

# The Debian mirror is the one that this machine gets its own packages from.
mirror() {
    [[ -z ${HOIST_MIRROR:-} ]] || { echo "${HOIST_MIRROR%/}"; return; }
    apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' 2>/dev/null |
        awk -v release="$(os_release VERSION_CODENAME)" '$1 == release && !found++ {print $2}'
}

# prerequisites WORD COMMAND…: the conditions of everything here. `.ci/setup WORD` installs the commands.
prerequisites() {
    local word=$1 command
    shift
    ((EUID == 0)) || unavailable "only root can make and use it"
    [[ $(uname -m) == x86_64 ]] || unavailable "it is made for x86_64, this is $(uname -m)"
    command -v apt-get >/dev/null || unavailable "it is made of Debian packages, and there is no apt-get"
    [[ $(os_release ID) == debian ]] ||
        unavailable "it is made with Debian's tools, this is $(os_release ID)"
    for command; do
        command -v "$command" >/dev/null || unavailable "$command is missing (.ci/setup $word)"
    done
    # apt's and the kernel's lists would need them escaped.
    [[ $cache != *[[:space:]\":\\]* ]] || fail "the cache's path has a space, quote, colon or backslash: $cache"
}

# apt_beside DIR STATUS RELEASE…: an apt that keeps all it has in DIR, for these releases of Debian. STATUS
# is dpkg's list of what is installed. Of the system's apt it has the configuration (a proxy), no more.
apt_beside() {
    local dir=$1 status=$2 release
    shift 2
    [[ -n $(mirror) ]] || unavailable "no mirror in apt's sources (HOIST_MIRROR=URL)"
    mkdir -p "$dir"/{lists/partial,archives/partial}
    for release; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $release main"
    done >"$dir/sources.list"
    # A mirror may be a snapshot, whose dates are over. A list that can't be fetched is an error.
    cat >"$dir/apt.conf" <<CONF
Dir::State "$dir";
Dir::State::lists "$dir/lists";
Dir::State::status "$status";
Dir::Cache "$dir";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
CONF
    apt=$dir
}

# What apt complained about first, in a log of its own.
complaint() { sed -n 's/^[EW]: //p' "$1" | head -n 1; }

# apt_download OPTION… PACKAGE…: the packages, and what they need that STATUS lacks, to $apt/archives.
apt_download() {
    local -x APT_CONFIG=$apt/apt.conf
    { apt-get -q update && apt-get -q --yes --download-only install "$@"; } >"$apt/log" 2>&1 ||
        unavailable "packages are not to be had: $(complaint "$apt/log")"
}

# remove_tree DIR: a mount that has leaked into a tree may be the host's /dev, so its tree stays.
remove_tree() {
    removable "$1"
    rm -rf --one-file-system "$1"
}

removable() {
    local tree mount
    tree=$(readlink -m "$1")
    mount=$(awk -v tree="$tree" '$5 == tree || index($5, tree "/") == 1 {print $5; exit}' /proc/self/mountinfo)
    [[ -z $mount ]] || fail "$tree can't be removed: $mount is mounted"
}
