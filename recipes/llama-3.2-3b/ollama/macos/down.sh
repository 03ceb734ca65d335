#!/bin/sh
# Ends it: options and all as "cgn recipe down" has them.
exec "$(dirname "$0")/../../../../bin/cgn" recipe down llama-3.2-3b/ollama/macos "$@"
