#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe up tiny/embedded/cpu "$@"
