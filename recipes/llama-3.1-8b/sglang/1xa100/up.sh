#!/bin/sh
# Serves it: options and all as "cgn recipe up" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe up llama-3.1-8b/sglang/1xa100 "$@"
