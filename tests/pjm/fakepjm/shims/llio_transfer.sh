#!/bin/sh
# llio_transfer: copies common files to second-layer caches; here they are only looked at. Up to 16384 files [FUG, LLIO].
while [ $# -gt 0 ]; do
    case "$1" in
    --purge | --sync) shift ;;
    -*) echo "llio_transfer: unknown option $1" >&2; exit 1 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "usage: llio_transfer [--purge] file..." >&2; exit 1; }
[ $# -le 16384 ] || { echo "llio_transfer: too many files ($#)" >&2; exit 1; }
for file in "$@"; do
    [ -f "$file" ] || { echo "llio_transfer: $file: No such file or directory" >&2; exit 1; }
done
