#!/bin/sh
# Ends it: options and all as "cgn recipe down" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe down llama-3.1-8b/sglang/1xa100 "$@"
