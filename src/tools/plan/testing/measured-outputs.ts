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

/** https://github.com/stas00/ml-engineering/pull/60, of the first version of mamf-finder.py. */
export const mamfFirst = `** Command line:
/usr/bin/python ./mamf-finder.py --m_range 0 20480 256 --n_range 0 20480 256 --k_range 0 20480 256 --output_file=2024-08-09-04:29:13.txt

** Dtype: torch.bfloat16

** Platform/Device info:
_CudaDeviceProperties(name='NVIDIA GH200 480GB', major=9, minor=0, total_memory=96768MB, multi_processor_count=132)

The best outcome was 821.0TFLOPS @ 11264x19712x1536 (MxNxK) (tried 493039 shapes)
Elapsed time: 2 days, 14:42:00
`

/** Of the documentation of a later version; its best burst and its best sustained rate on H100 are different products. */
export const mamfSustained = `** Dtype: torch.bfloat16

Tried 24 shapes => the best outcomes were:
MAMF (max achievable,  boost burst): 842 TFLOPS @ 3072x2816x20480 (MxNxK)  172W 1980MHz
MSMF (max sustainable, saturated):   722 TFLOPS @ 3072x2816x8192 (MxNxK)  681W 1612MHz
`

/** benchmark/matmul/README.md of tilelang (read in https://github.com/xwhzz/tilelang): 8192 × 8192 × k in float16 on H800, as a table. */
export const products = `m,n,k,dtype,tflops
8192,8192,256,float16,386
8192,8192,1024,float16,628
8192,8192,4096,float16,736
8192,8192,16384,float16,766
`

/** The form of `nvidia-smi -q` of a device whose module has no limits of its own; the default limit was changed from 500 W. */
export const power = `    GPU Power Readings
        Power Draw                        : 59.77 W
        Current Power Limit               : 500.00 W
        Requested Power Limit             : 500.00 W
        Default Power Limit               : 700.00 W
        Min Power Limit                   : 100.00 W
        Max Power Limit                   : 700.00 W
    Module Power Readings
        Power Draw                        : N/A
        Current Power Limit               : N/A
        Default Power Limit               : N/A
`

/**
 * The matrices of README.md of https://github.com/NVIDIA/nvbandwidth at 66746a3, in the text that output.cpp of the same
 * version writes around them. The README does not name its eight devices; the rates are those of A100.
 */
export const nvbandwidth = `nvbandwidth Version: v0.8
Built from Git version: v0.8

NOTE: The reported results may not reflect the full capabilities of the platform.
Performance can vary with software drivers, hardware clocks, and system topology.

CUDA Runtime Version: 12040
CUDA Driver Version: 12040
Driver Version: 550.54.15

node005
Device 0: NVIDIA A100-SXM4-80GB (00000000:07:00)

Running host_to_device_memcpy_ce.
memcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)
           0         1         2         3         4         5         6         7
 0     26.03     25.94     25.97     26.00     26.19     25.95     26.00     25.97

SUM host_to_device_memcpy_ce 208.05

Running host_to_device_bidirectional_memcpy_ce.
memcpy CE CPU(row) <-> GPU(column) bandwidth (GB/s)
           0         1         2         3         4         5         6         7
 0     18.56     18.37     19.37     19.59     18.71     18.79     18.46     18.61

SUM host_to_device_bidirectional_memcpy_ce 150.46

Running device_to_device_memcpy_write_ce.
memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)
           0         1         2         3         4         5         6         7
 0       N/A    276.07    276.36    276.14    276.29    276.48    276.55    276.33
 1    276.19       N/A    276.29    276.29    276.57    276.48    276.38    276.24
 2    276.33    276.29       N/A    276.38    276.50    276.50    276.29    276.31
 3    276.19    276.62    276.24       N/A    276.29    276.60    276.29    276.55
 4    276.03    276.55    276.45    276.76       N/A    276.45    276.36    276.62
 5    276.17    276.57    276.19    276.50    276.31       N/A    276.31    276.15
 6    274.89    276.41    276.38    276.67    276.41    276.26       N/A    276.33
 7    276.12    276.45    276.12    276.36    276.00    276.57    276.45       N/A

SUM device_to_device_memcpy_write_ce 15474.88
`

/** A case of the JSON that json_output.cpp of the same version writes: bandwidths are strings. */
export const nvbandwidthCase = (name: string, rows: readonly (readonly (number | null)[])[]) => ({
  name,
  status: 'Passed',
  bandwidth_description: 'memcpy CE bandwidth (GB/s)',
  bandwidth_matrix: rows.map((row) => row.map((value) => (value === null ? 'N/A' : String(value)))),
  sum: rows.flat().reduce((sum: number, value) => sum + (value ?? 0), 0),
})

/** The JSON of `nvbandwidth -j`. */
export const nvbandwidthJson = (testcases: readonly object[]): string =>
  JSON.stringify(
    {
      nvbandwidth: {
        'CUDA Runtime Version': 12040,
        'Driver Version': '550.54.15',
        'GPU Device list': ['0: NVIDIA A100-SXM4-80GB (00000000:07:00): (node005)'],
        git_version: 'v0.8',
        testcases,
        version: 'v0.8',
      },
    },
    null,
    3,
  )
