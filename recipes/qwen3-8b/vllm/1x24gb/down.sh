#!/bin/sh
# Ends it: options and all as "cgn recipe down" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe down qwen3-8b/vllm/1x24gb "$@"
