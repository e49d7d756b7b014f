/**
 * Tests the benchmark of a GPU at the smallest sizes, on the first device of this machine, which may be a software
 * device; PyTorch computes on the CPU here.
 *
 * @slow
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listDevices } from '../../../src/engine/dawn/node-device.ts'
import { loadConfig } from '../../../src/node/run/load-config.ts'
import { findPyTorch } from '../../peers/python.ts'
import { fileIn } from '../../support/results.ts'
import { measureProducts } from './ceilings.ts'
import { reportText } from './report.ts'
import {
  cardName,
  findCard,
  type GpuRow,
  isMissing,
  type MatmulRow,
  type MemoryRow,
  missing,
  orMissing,
  type TrainingRow,
} from './rows.ts'
import { gpuTargets } from './targets.ts'
import { measureTraining } from './training.ts'

const { gpus } = await listDevices()
const python = await findPyTorch().catch(() => undefined)
// torch.compile would take a minute.
process.env.TORCHDYNAMO_DISABLE = '1'
const timeout = 400_000

const runBench = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', fileIn('bench/training/gpu.ts'), ...args], {
    cwd: fileIn(''),
  })

describe.skipIf(gpus.length === 0)('on the first device', () => {
  let folder: string
  let rows: readonly GpuRow[]
  let printed: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'choir-gpu-'))
    const file = join(folder, 'gpu.json')
    printed = (await runBench('--quick', '--out', file)).stdout
    rows = (JSON.parse(await readFile(file, 'utf8')) as { rows: GpuRow[] }).rows
  }, timeout)
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const of = <Row extends GpuRow>(part: Row['part']): Row[] => rows.filter((row): row is Row => row.part === part)

  test('every row has the adapter, the driver and the versions', async () => {
    const card = await findCard()
    expect(new Set(rows.map(({ part }) => part))).toEqual(new Set(['matmul', 'memory', 'training']))
    for (const row of rows) {
      expect(row).toMatchObject({ ...card, math: 'float32' })
      expect(row.date).toMatch(/^\d{4}-\d\d-\d\d$/)
    }
    expect(card.versions.webgpu).toMatch(/^\d+\.\d+/)
  })

  test('rates are operations and bytes over time', () => {
    expect(of<MatmulRow>('matmul')).toHaveLength(2)
    for (const { count, m, n, k, ms, gflops } of of<MatmulRow>('matmul')) {
      expect(ms).toBeGreaterThan(0)
      expect(gflops).toBeCloseTo((2 * count * m * n * k) / (1e6 * ms), 9)
    }
    for (const { bytes, gbPerSecond } of of<MemoryRow>('memory')) {
      expect(bytes).toBe(2 ** 20)
      expect(gbPerSecond).toBeGreaterThan(0.01)
    }
  })

  test('a training has the operations of its formula, and not much more speed than the best product', () => {
    const [row] = of<TrainingRow>('training')
    if (!row || isMissing(row)) throw new Error('no training was measured')
    const { choir, cpu, tokens, flopsPerStep } = row
    // tiny: 2 layers of width 32 with 4 experts of 64, 32 positions, a head of 257.
    const [layers, width, hidden, experts, sequence, vocabulary] = [2, 32, 64, 4, 32, 257]
    const weights = layers * (4 * width ** 2 + width * experts) + width * vocabulary
    const kept = choir.keptShare * layers * tokens
    const dense = tokens * (6 * weights + 12 * layers * sequence * width)
    expect(tokens).toBe(4 * sequence)
    expect(flopsPerStep).toBeCloseTo(dense + 6 * kept * 2 * width * hidden, 3)
    expect(choir.tokensPerSecond).toBeCloseTo((1000 * tokens) / choir.stepMs, 6)
    expect(choir.gflops).toBeCloseTo(flopsPerStep / (1e6 * choir.stepMs), 9)
    expect(choir.mfu).toBeCloseTo(choir.gflops / choir.peakGflops, 9)
    expect(choir.mfu).toBeGreaterThan(0)
    expect(choir.mfu).toBeLessThanOrEqual(1.05)
    expect(cpu).toMatchObject({ threads: 2 })
    if (!isMissing(cpu)) expect(cpu.speedRatio).toBeCloseTo(choir.tokensPerSecond / cpu.tokensPerSecond, 9)
  })

  test('figures of a software device are marked, and not stored with figures of GPUs', { timeout }, async () => {
    const card = await findCard()
    if (!card.adapter.software) return
    expect(printed).toContain('not figures of a GPU')
    const published = fileIn(`docs/results/${cardName(card)}.json`)
    await expect(runBench('--quick')).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('software') })
    await expect(runBench('--quick', '--out', published)).rejects.toMatchObject({ code: 2 })
  })

  test('a precision that the device lacks is refused', { timeout }, async () => {
    const refused = { code: 2, stderr: expect.stringMatching(/invalid --math: "bf16" .*bf16 is for the CPU/) }
    await expect(runBench('--quick', '--math', 'bf16', '--out', join(folder, 'bf16.json'))).rejects.toMatchObject(
      refused,
    )
  })

  test.skipIf(!python)('PyTorch takes turns with Choir, and ratios compare their speeds', { timeout }, async () => {
    const card = await findCard()
    const peer = { python: python as string, device: 'cpu' } as const
    const options = { math: 'float32', threads: 1, turns: 1, quick: true, peakGflops: 1e9 } as const
    const row = await measureTraining(card, 'tiny', { ...options, peer })
    for (const other of Object.values(row.pytorch)) {
      if (isMissing(other)) throw new Error(other.missing)
      expect(other).toMatchObject({ device: 'cpu', compiled: false, keptShare: 1 })
      expect(other.speedRatio).toBeCloseTo(row.choir.tokensPerSecond / other.tokensPerSecond, 9)
    }
    expect(row.choir.mfu).toBeCloseTo(row.choir.gflops / 1e9, 12)
    const config = await loadConfig('tiny', ['runtime.device=webgpu'])
    const products: MatmulRow[] = []
    await measureProducts(card, { quick: true, config }, peer, async (product) => void products.push(product))
    for (const { gflops, pytorch, ratio } of products)
      expect(ratio).toBeCloseTo(gflops / (isMissing(pytorch) ? 0 : pytorch.gflops), 9)
  })
})

const card = {
  adapter: { name: 'Card', vendor: '', architecture: '', description: '', software: false },
  versions: { choir: '1', webgpu: '1', node: '1' },
}
const product = (gflops: number, theirs: number): MatmulRow => ({
  ...card,
  part: 'matmul',
  name: String(gflops),
  math: 'float32',
  date: '',
  count: 1,
  m: 1,
  n: 1,
  k: 1,
  ms: 1,
  gflops,
  pytorch: { torch: '2', device: 'Card', gflops: theirs },
  ratio: gflops / theirs,
})

test('targets without a GPU are marked as unmeasured, and with a GPU the best product counts', () => {
  for (const { figures, unmeasured } of gpuTargets([])) {
    expect(figures).toEqual([])
    expect(unmeasured).toBe('no GPU measured')
  }
  const [products, ...others] = gpuTargets([[product(30, 60), product(35, 50)]])
  expect(products?.figures).toEqual([{ routing: 'Card', value: 35 / 60 }])
  expect(others.every(({ figures }) => figures.length === 0)).toBe(true)
})

test('a missing result has its reason: the peer is not there, or failed', async () => {
  const fails = () => Promise.reject(new Error('CUDA out of memory'))
  expect(await orMissing({ python: 'python3' }, fails)).toEqual({ missing: 'CUDA out of memory' })
  expect(await orMissing({ missing: 'no PyTorch' }, fails)).toEqual({ missing: 'no PyTorch' })
})

test('a report names missing results and their reasons, each reason once', () => {
  const gone = { ...product(30, 60), pytorch: missing(new Error('no PyTorch')), ratio: null }
  const text = reportText([
    gone,
    { ...gone, name: '31' },
    { ...card, part: 'training', name: 'L', math: 'float32', date: '', missing: 'out of memory' },
  ])
  expect(text).toMatch(/PyTorch: no PyTorch\n.*training L: out of memory/)
  expect(text.match(/no PyTorch/g)).toHaveLength(1)
})
