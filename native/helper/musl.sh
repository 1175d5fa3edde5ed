#!/usr/bin/env bash
# Prints what gcc is told to build the helper against musl, or nothing where Debian's musl-tools are not installed:
#   musl.sh compile | musl.sh link
# musl's start-up is a handful of system calls; glibc's asks the processor for its features dozens of times, and each
# question leaves a virtual machine, which costs more than the whole rest of a short program.
set -euo pipefail
gnu="$(gcc -print-multiarch)"
specs="/usr/lib/${gnu/gnu/musl}/musl-gcc.specs"
if [ ! -f "$specs" ]; then exit; fi
if [ "$1" = compile ]; then
  # The kernel's headers lie among glibc's, which must not be found.
  headers="$(dirname "$(realpath "$0")")/../build/kernel-headers"
  mkdir -p "$headers"
  ln -sfn /usr/include/linux "$headers/linux"
  ln -sfn /usr/include/asm-generic "$headers/asm-generic"
  ln -sfn "/usr/include/$gnu/asm" "$headers/asm"
  echo "-specs=$specs -idirafter $(realpath "$headers")"
else
  echo "-specs=$specs"
fi
