#!/bin/sh
cd "$(dirname "$0")/../../../.." || exit 1
exec npm run --silent cgn -- recipe down deepseek-v4-flash/sglang/4xh200 "$@"
