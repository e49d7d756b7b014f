/** Excerpts of published outputs of benchmarks, as they were printed, with fewer rows and shorter lists of ranks. */

const h100 = (first: number, host: string) =>
  Array.from(
    { length: 8 },
    (_, i) =>
      `#  Rank ${String(first + i).padStart(2)} Group  0 Pid ${295_203 + i} on    ${host} device  ${i} [0x18] NVIDIA H100 80GB HBM3`,
  )

const head = `#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)`

/** https://github.com/NVIDIA/nccl-tests/issues/290: eight H100 of a node, all_reduce_perf. */
export const ncclNode = `# nThread 1 nGpus 8 minBytes 134217728 maxBytes 4294967296 step: 2(factor) warmup iters: 5 iters: 2 agg iters: 1 validation: 1 graph: 0
#
# Using devices
${h100(0, 'node005').join('\n')}
${head}
   134217728      33554432     float     sum      -1    613.3  218.85  382.99      0    614.3  218.48  382.34      0
   268435456      67108864     float     sum      -1   1139.2  235.63  412.35      0   1134.8  236.56  413.97      0
   536870912     134217728     float     sum      -1   2175.8  246.75  431.81      0   2181.4  246.11  430.69      0
  1073741824     268435456     float     sum      -1   4038.8  265.85  465.25      0   4043.6  265.54  464.70      0
  2147483648     536870912     float     sum      -1   8020.3  267.76  468.57      0   8002.1  268.36  469.64      0
  4294967296    1073741824     float     sum      -1    15870  270.63  473.60      0    15773  272.30  476.53      0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 439.369
#`

/** The same issue: two such nodes, by \`srun -l\`. Its author asked why the network was slow. */
export const ncclNodes = [
  '# nThread 1 nGpus 1 minBytes 8388608 maxBytes 8589934592 step: 2(factor) warmup iters: 5 iters: 200 agg iters: 1 validation: 0 graph: 0',
  '#',
  '# Using devices',
  ...h100(0, 'node005'),
  ...h100(8, 'node007'),
  ...head.split('\n'),
  '     8388608       2097152     float     sum      -1    215.3   38.96   73.04    N/A    180.0   46.60   87.38    N/A',
  '    67108864      16777216     float     sum      -1    918.4   73.07  137.01    N/A    856.0   78.39  146.99    N/A',
  '   536870912     134217728     float     sum      -1   6983.7   76.88  144.14    N/A   7003.1   76.66  143.74    N/A',
  '  8589934592    2147483648     float     sum      -1   103530   82.97  155.57    N/A   103538   82.96  155.56    N/A',
  '# Out of bounds values : 0 OK',
]
  .map((line) => ` 0: ${line}`)
  .join('\n')

const amd = Array.from(
  { length: 8 },
  (_, i) => `#  Rank  ${i} Group  0 Pid      1 on    Aliyun3 device  ${i} [0000:05:00] AMD Radeon Graphics`,
).join('\n')

/** https://github.com/prasad-nair-amd/alibaba: eight Instinct of a node, rccl-tests, two tests in a log. */
export const rcclNode = `docker run --rm prasadnairamd/rccl-tests ./build/all_reduce_perf -b 8 -e 1G -f 2 -g 8
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 8 minBytes 8 maxBytes 1073741824 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0
#
# Using devices
${amd}
${head}
        1024           256     float     sum      -1    34.29    0.03    0.05       0    33.52    0.03    0.05       0
       65536         16384     float     sum      -1    33.44    1.96    3.43       0    32.07    2.04    3.58       0
     1048576        262144     float     sum      -1    37.37   28.06   49.11       0    37.64   27.86   48.75       0
     8388608       2097152     float     sum      -1    71.12  117.94  206.40       0    71.13  117.94  206.39       0
    67108864      16777216     float     sum      -1   324.09  207.07  362.37       0   323.75  207.29  362.76       0
   536870912     134217728     float     sum      -1  2351.27  228.33  399.58       0  2347.45  228.70  400.23       0
  1073741824     268435456     float     sum      -1  4667.81  230.03  402.55       0  4675.42  229.66  401.90       0
# Out of bounds values : 0 OK
# Collective test concluded: all_reduce_perf
[vultr@Aliyun3 ~]$ docker run --rm prasadnairamd/rccl-tests ./build/alltoall_perf -b 8 -e 128M -f 2 -g 8
# Collective test starting: alltoall_perf
# nThread 1 nGpus 8 minBytes 8 maxBytes 134217728 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0
#
# Using devices
${amd}
${head}
           0             0     float    none      -1     0.94    0.00    0.00       0     0.76    0.00    0.00    N/A
        1024            32     float    none      -1    29.83    0.03    0.03       0    46.95    0.02    0.02    N/A
     1048576         32768     float    none      -1    37.45   28.00   24.50       0    49.02   21.39   18.72    N/A
    16777216        524288     float    none      -1    59.45  282.19  246.91       0    62.17  269.87  236.14    N/A
    67108864       2097152     float    none      -1   196.69  341.19  298.54       0   199.69  336.06  294.05    N/A
   134217728       4194304     float    none      -1   364.47  368.25  322.22       0   371.15  361.62  316.42    N/A
# Collective test concluded: alltoall_perf`

/** Of the README of the Swiss National Supercomputing Centre's container of OSU with MPICH, 8 GH200 of 2 nodes of Clariden. */
export const osuAllToAll = `[clariden][amadonna@clariden-ln002 ~]$ srun -N2 --ntasks-per-node=4 --mpi=pmi2 --environment=omb-cxi-mpich ./collective/osu_alltoall -d cuda

# OSU MPI-CUDA All-to-All Personalized Exchange Latency Test v7.5
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)
1                     135.89
1024                  137.20
16384                 170.30
131072                238.45
262144                302.85
524288                438.77
1048576               744.85
`

/** The same README: a pair of GPUs of two nodes. */
export const osuLatency = `# OSU MPI-CUDA Latency Test v7.5
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)
1                      21.80
1024                   22.98
65536                  40.14
1048576               214.15
4194304               825.47
`

/** Oracle's documentation: two A100 of a node, the bandwidth of a pair. */
export const osuBandwidth = `# OSU MPI-CUDA Bandwidth Test v7.5
# Datatype: MPI_CHAR.
# Size      Bandwidth (MB/s)
268435456          279577.30
`
