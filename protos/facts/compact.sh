#!/bin/bash
# compact.sh TABLE: turns an interface table (one definition per paragraph, one row per line, as `NUMBER [label] TYPE
# NAME [options]`) into the form kept here: one line per definition. Run it on the table of a new version of the
# interface and compare.
set -euo pipefail
awk '
  /^#/ || !NF { next }
  /^[^ ]/     { if (line != "") print line; line = $1 " " $2 ":"; separator = " "; next }
              { sub(/^ +/, ""); line = line separator $0; separator = "; " }
  END         { print line }
' "$1"
