# shellcheck shell=bash disable=SC2154
# Sourced after progress.sh: Debian packages, installed into the system or unpacked into folders of our own.
# Nothing that is installed is ever upgraded, replaced or removed.

export DEBIAN_FRONTEND=noninteractive

# missing_packages PACKAGE…: prints those that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -q '^installed$' || printf '%s\n' "$package"
  done
}

# install_packages PACKAGE…: installs what is missing; refreshes apt's lists only if the ones here do not do.
install_packages() {
  local options=(-y -q --no-install-recommends --no-upgrade --no-remove -o DPkg::Lock::Timeout=120)
  apt-get install "${options[@]}" "$@" && return
  apt-get update -q
  apt-get install "${options[@]}" "$@"
}

# named_mirror: what apt's own sources name; nothing where its lists were never fetched.
named_mirror() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian //p' | head -n 1 | grep .
}

# debian_mirror: the address that this machine gets Debian from.
debian_mirror() {
  named_mirror && return
  apt-get update -q >&2
  named_mirror || fail 'apt has no source of Debian packages'
}

# private_apt SUITE [deb-src]: points the apt-get of this shell at one suite, with lists, cache and an empty package
# status of its own, so that the machine's package management never hears of it. Signatures are checked as usual; only
# the date until which a suite's index is valid is not, because mirrors of testing lag.
private_apt() {
  local suite="$1" type="${2:-deb}" folder="$cache/apt/$1" line
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f "$keyring" ] || install_packages debian-archive-keyring
  mkdir -p "$folder"/{lists,archives}/partial
  : >"$folder/status"
  line="[signed-by=$keyring] $(debian_mirror) $suite main"
  printf '%s\n' "$type $line" >"$folder/sources.list"
  cat >"$folder/apt.conf" <<CONF
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder";
Dir::Cache::archives "$folder/archives";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG="$folder/apt.conf"
  apt-get update -q
}

# unpack_packages FOLDER PACKAGE_FILE…: lays the packages' files out below FOLDER, replacing what was there.
unpack_packages() {
  local folder="$1" file
  shift
  rm -rf "$folder.partial"
  mkdir -p "$folder.partial"
  for file in "$@"; do dpkg-deb --extract "$file" "$folder.partial"; done
  rm -rf "$folder"
  mv "$folder.partial" "$folder"
}
