#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe up llama-3.3-70b-fp8/vllm/tp4 "$@"
