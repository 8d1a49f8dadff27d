#!/bin/sh
# dir_transfer: llio_transfer for whole folders; here they are only looked at [FUG, LLIO].
while [ $# -gt 0 ]; do
    case "$1" in
    -p) shift ;;
    -l) mkdir -p "$2" || exit 1; shift 2 ;;
    -*) echo "dir_transfer: unknown option $1" >&2; exit 1 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "usage: dir_transfer [-p] [-l logdir] directory..." >&2; exit 1; }
for folder in "$@"; do
    [ -d "$folder" ] || { echo "dir_transfer: $folder: No such directory" >&2; exit 1; }
done
