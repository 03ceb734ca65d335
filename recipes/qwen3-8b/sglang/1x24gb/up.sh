#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe up qwen3-8b/sglang/1x24gb "$@"
