#!/bin/sh
# Serves it: options and all as "cgn recipe up" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe up llama-3.3-70b-fp8/vllm/tp4 "$@"
