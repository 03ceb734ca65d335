#!/bin/sh
# Ends it: options and all as "cgn recipe down" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe down deepseek-v4-flash/vllm/4xh200 "$@"
