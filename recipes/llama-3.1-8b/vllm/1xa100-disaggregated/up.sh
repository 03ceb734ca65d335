#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe up llama-3.1-8b/vllm/1xa100-disaggregated "$@"
