#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe down qwen3-8b/vllm/1x24gb "$@"
