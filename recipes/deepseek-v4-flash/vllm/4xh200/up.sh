#!/bin/sh
# Serves it: options and all as "cgn recipe up" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe up deepseek-v4-flash/vllm/4xh200 "$@"
