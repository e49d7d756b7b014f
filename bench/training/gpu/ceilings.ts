/** Measures the rates of single operations on the GPU: matrix products by shape, and memory traffic. */
import type { RunConfig } from '../../../src/core/config/run-config.ts'
import { openRuntime } from '../../../src/node/run/session.ts'
import { measureBandwidth, type Traffic } from '../../../src/train/measure/bandwidth.ts'
import { measureProduct } from '../../../src/train/measure/peak.ts'
import type { PeerDevice } from '../../peers/python.ts'
import { type PeerProduct, PyTorchProducts } from '../../peers/pytorch.ts'
import { type Card, isMissing, type MatmulRow, type MemoryRow, type Missing, rowFacts } from './rows.ts'

type Shape = Omit<PeerProduct, 'precision'>

const square = (size: number): Shape => ({ count: 1, m: size, n: size, k: size })

/** Square products, and products that trainings compute: projections, the head, experts. */
const products: readonly Shape[] = [
  ...[1024, 2048, 4096, 8192].map(square),
  { count: 1, m: 4096, n: 768, k: 256 },
  { count: 1, m: 4096, n: 1536, k: 512 },
  { count: 1, m: 4096, n: 16_384, k: 1024 },
  { count: 16, m: 320, n: 4096, k: 1024 },
]

const quickProducts: readonly Shape[] = [square(128), { count: 2, m: 48, n: 80, k: 36 }]

const MIB = 2 ** 20

const nameOf = ({ count, m, n, k }: Shape): string => `${count === 1 ? '' : `${count} of `}${m} × ${k} × ${n}`

export interface CeilingOptions {
  /** Whether only the smallest sizes are measured. */
  readonly quick: boolean
  readonly config: Pick<RunConfig, 'runtime'>
}

export async function measureProducts(
  card: Card,
  { quick, config }: CeilingOptions,
  peer: PeerDevice | Missing,
  put: (row: MatmulRow) => Promise<void>,
): Promise<void> {
  const runtime = await openRuntime(config)
  const pytorch = isMissing(peer) ? peer : await PyTorchProducts.start(peer)
  const { math } = runtime
  try {
    for (const shape of quick ? quickProducts : products) {
      const flops = 2 * shape.count * shape.m * shape.n * shape.k
      const ms = 1000 * (await measureProduct(runtime, shape))
      const gflops = flops / ms / 1e6
      const theirs = isMissing(pytorch)
        ? pytorch
        : { ...pytorch.info, gflops: flops / (await pytorch.time({ ...shape, precision: math })) / 1e6 }
      await put({
        part: 'matmul',
        ...rowFacts(card, nameOf(shape), math),
        ...shape,
        ms,
        gflops,
        pytorch: theirs,
        ratio: isMissing(theirs) ? null : gflops / theirs.gflops,
      })
    }
  } finally {
    if (!isMissing(pytorch)) await pytorch.stop()
    await runtime.close()
  }
}

export async function measureMemory(
  card: Card,
  { quick, config }: CeilingOptions,
  put: (row: MemoryRow) => Promise<void>,
): Promise<void> {
  const runtime = await openRuntime(config)
  try {
    for (const traffic of ['copy', 'update'] satisfies Traffic[])
      for (const size of quick ? [1] : [16, 128]) {
        const bytes = size * MIB
        const gbPerSecond = (await measureBandwidth(runtime, { traffic, bytes })) / 1e9
        await put({ part: 'memory', ...rowFacts(card, `${traffic} ${size} MiB`, runtime.math), bytes, gbPerSecond })
      }
  } finally {
    await runtime.close()
  }
}
