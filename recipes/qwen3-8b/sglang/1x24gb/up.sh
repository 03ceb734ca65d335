#!/bin/sh
# Serves it: options and all as "cgn recipe up" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe up qwen3-8b/sglang/1x24gb "$@"
