#!/bin/sh
# numactl without NUMA nodes: drops the binding and runs the program.
while [ $# -gt 0 ]; do
    case "$1" in
    -m | -N | -C | -i | -p | --membind | --cpunodebind | --physcpubind | --interleave | --preferred) shift 2 ;;
    -l | --localalloc | --membind=* | --cpunodebind=* | --physcpubind=* | --interleave=* | --preferred=*) shift ;;
    -m* | -N* | -C* | -i*) shift ;;
    --) shift; break ;;
    -*) echo "numactl: unknown option $1" >&2; exit 1 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "usage: numactl [-m nodes] [-N nodes] program arguments" >&2; exit 1; }
exec "$@"
