#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe down llama-3.2-3b/ollama/macos "$@"
