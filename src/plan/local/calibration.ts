/**
 * What this machine is as a device of the planner. Measured: products of some shapes, the rate of memory, and the
 * steps of a few small trainings, recorded. From them follow the constants of the same model that plans clusters,
 * each from the part of a step that it is about: pads and fill from the products, alone and in trainings; the share
 * of the peak that attention reaches; what a kernel costs to start, and what share of the memory's rate passes
 * reach, from all else; and the update's rate from the update.
 */
import { cpus, totalmem } from 'node:os'
import { checked } from '../../config/problems.ts'
import type { RunConfig } from '../../config/run-config.ts'
import { measureBandwidth } from '../../measure/bandwidth.ts'
import { TrainingBench } from '../../measure/benchmark.ts'
import { measureProduct } from '../../measure/peak.ts'
import { loadConfig } from '../../run/load-config.ts'
import { openRuntime } from '../../run/session.ts'
import { median } from '../../step/statistics.ts'
import { productSeconds } from '../cost/device-time.ts'
import { type Cluster, clusterSchema, type Device } from '../inputs/cluster.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { descend, logError } from './fit.ts'
import { localRun } from './local-run.ts'
import { predictedWork, recordedWork, type StepWork } from './step-work.ts'

export interface Calibration {
  /** What computed, e.g. `oneDNN 3.7.2, float32, 2 threads`. */
  readonly engine: string
  readonly cluster: Cluster
  /** Whether the kernels of the runtime are there: then all rows of experts are computed as they come. */
  readonly kernels: boolean
  /** Peak memory of a process that trains, without its model. */
  readonly baseBytes: number
  /** Mean absolute errors of the fits: of products of one shape, and of the parts of trainings, over the step. */
  readonly errors: { readonly shapes: number } & Readonly<Record<keyof StepWork, number>>
}

/** From small to large; wide, tall and deep; several at once. */
const products = [
  { count: 1, m: 128, n: 128, k: 128 },
  { count: 1, m: 512, n: 256, k: 256 },
  { count: 1, m: 1024, n: 128, k: 384 },
  { count: 1, m: 1024, n: 1024, k: 256 },
  { count: 1, m: 256, n: 1024, k: 2048 },
  { count: 1, m: 4096, n: 512, k: 256 },
  { count: 1, m: 2048, n: 2048, k: 512 },
  { count: 1, m: 4096, n: 512, k: 2048 },
  { count: 1, m: 2048, n: 2048, k: 2048 },
  { count: 8, m: 128, n: 256, k: 128 },
  { count: 16, m: 256, n: 1024, k: 256 },
  { count: 16, m: 256, n: 256, k: 1024 },
  { count: 16, m: 64, n: 1024, k: 256 },
  { count: 32, m: 32, n: 2048, k: 512 },
] as const

type Sets = readonly [preset: string, ...sets: string[]]

const smallest: Sets = ['tiny', 'train.batch=8']
/** Small models that differ in what they spend their time on; each with what it sets. */
const trainings: readonly Sets[] = [
  smallest,
  ['demo', 'model.layers=2'],
  ['demo', 'model.moe=null', 'model.layers=3', 'model.width=192', 'model.hidden=768', 'model.heads=6'],
  ['demo', 'model.layers=1', 'model.sequence=1024', 'train.batch=2'],
  ['S', 'model.layers=1', 'train.batch=2', 'model.moe.experts=32'],
  ['S', 'model.layers=1', 'train.batch=8'],
  ['S', 'model.layers=2', 'model.moe.experts=8', 'model.moe.k=2', 'train.batch=4', 'model.vocabulary=2048'],
]
const STEPS = { warmUp: 6, timed: 8 }
/** A machine has slow moments that last longer than a few steps, or a few runs of a product. */
const ROUNDS = { trainings: 2, products: 4 }

/** Takes about a minute; the machine should have nothing else to do. */
export async function calibrate(config: RunConfig, say: (message: string) => void = () => {}): Promise<Calibration> {
  const { runtime: settings } = config
  const trained = (...[preset, ...sets]: Sets) =>
    loadConfig(preset, [
      ...sets,
      `runtime.math=${settings.math}`,
      ...(settings.threads === undefined ? [] : [`runtime.threads=${settings.threads}`]),
    ])
  const baseBytes = await memoryBeside(await trained(...smallest))
  const recordings: { readonly config: RunConfig; readonly rounds: StepWork[] }[] = []
  for (let round = 0; round < ROUNDS.trainings; round++)
    for (const [at, sets] of trainings.entries()) {
      const training = await trained(...sets)
      say(`training ${sets.join(' ')}, ${round + 1} of ${ROUNDS.trainings}`)
      const work = await recorded(training)
      if (round === 0) recordings.push({ config: training, rounds: [work] })
      else recordings[at]?.rounds.push(work)
    }

  say('measuring products and memory')
  const runtime = await openRuntime(config)
  const { threads, math, provider, kernels } = runtime
  const measured: MeasuredProduct[] = products.map((shape) => ({ shape, seconds: Number.POSITIVE_INFINITY }))
  let bandwidth = 0
  try {
    for (let round = 0; round < ROUNDS.products; round++) {
      for (const product of measured)
        product.seconds = Math.min(product.seconds, await measureProduct(runtime, product.shape))
      bandwidth = Math.max(bandwidth, await measureBandwidth(runtime))
    }
  } finally {
    await runtime.close()
  }
  const hasKernels = kernels.names.size > 0
  const observed = recordings.map(({ config, rounds }) => ({
    run: localRun(config, hasKernels),
    work: eachKind((kind) => median(rounds.map((work) => work[kind]))),
  }))
  const cluster = fitted(measured, bandwidth, observed)
  return {
    engine: `${provider}, ${math}, ${threads} thread${threads === 1 ? '' : 's'}`,
    cluster,
    kernels: hasKernels,
    baseBytes,
    errors: errorsOf(cluster, measured, observed),
  }
}

const eachKind = <T>(value: (kind: keyof StepWork) => T): Record<keyof StepWork, T> => ({
  products: value('products'),
  attention: value('attention'),
  passes: value('passes'),
  update: value('update'),
})

/** What a process that trains holds beside its model; to be asked before anything else has been trained. */
async function memoryBeside(config: RunConfig): Promise<number> {
  const bench = await TrainingBench.open(config)
  try {
    await bench.run(STEPS.warmUp)
    const own = bench.stateBytes + (bench.programBytes ?? 0)
    return process.resourceUsage().maxRSS * 1024 - own
  } finally {
    await bench.close()
  }
}

async function recorded(config: RunConfig): Promise<StepWork> {
  const bench = await TrainingBench.open(config, true)
  try {
    await bench.run(STEPS.warmUp)
    bench.resetProfile()
    await bench.run(STEPS.timed)
    return recordedWork((await bench.recorded()).profile)
  } finally {
    await bench.close()
  }
}

interface MeasuredProduct {
  readonly shape: (typeof products)[number]
  seconds: number
}

interface ObservedTraining {
  readonly run: PlannedRun
  readonly work: StepWork
}

/** Products of this machine are those of one precision: it goes by the name of float32. */
function deviceWith(peak: number, bandwidth: number, over: Partial<Device> = {}): Device {
  return {
    name: cpus()[0]?.model ?? 'this machine',
    memory: totalmem(),
    reserved: 1,
    bandwidth,
    peak: { float32: peak },
    matmul: { efficiency: 1, padM: 8, padN: 8, padK: 8, fill: 1000 },
    bandwidthEfficiency: 1,
    updateEfficiency: 1,
    attentionEfficiency: 0.5,
    attentionQuery: 0,
    kernel: 1e-5,
    ...over,
  }
}

const clusterOf = (device: Device): Cluster => ({
  ...checked(
    clusterSchema,
    {
      name: 'local',
      devices: 1,
      devicesPerNode: 1,
      device: { memory: '1 B', bandwidth: '1 B/s', peak: { float32: '1 FLOP/s' } },
      // Nothing passes a link between one device.
      links: { node: { bandwidth: '1 B/s' }, network: { bandwidth: '1 B/s' } },
    },
    'cluster',
  ),
  device,
})

type Pair = readonly [predicted: number, measured: number]

const productPairs = (device: Device, measured: readonly MeasuredProduct[]): Pair[] =>
  measured.map(({ shape, seconds }) => [productSeconds(device, 'float32', shape, 4), seconds])

/** What a part of a training is predicted to take too much or too little, as shares of the whole step. */
const shareErrors = (device: Device, observed: readonly ObservedTraining[], kind: keyof StepWork): number[] =>
  observed.map(({ run, work }) => (predictedWork(run, clusterOf(device))[kind] - work[kind]) / stepOf(work))

const stepOf = ({ products, attention, passes, update }: StepWork): number => products + attention + passes + update

const meanSquare = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value ** 2, 0) / values.length

/** The constants, each from what it is about: passes first, since products start as they do. */
function fitted(
  measured: readonly MeasuredProduct[],
  bandwidth: number,
  observed: readonly ObservedTraining[],
): Cluster {
  const best = Math.max(...measured.map(({ shape: { count, m, n, k }, seconds }) => (2 * count * m * n * k) / seconds))
  const fitting = (
    start: readonly number[],
    limits: readonly number[],
    device: (values: readonly number[]) => Device,
    loss: (device: Device) => number,
  ) => device(descend(start, limits, (values) => loss(device(values))))
  const missed = (kind: keyof StepWork) => (device: Device) => meanSquare(shareErrors(device, observed, kind))

  const passing = fitting(
    [1e-5, 0.7],
    [1e-3, 1],
    ([kernel = 0, bandwidthEfficiency = 1]) => deviceWith(best, bandwidth, { kernel, bandwidthEfficiency }),
    missed('passes'),
  )
  const multiplying = fitting(
    [1, 8, 8, 8, 1000],
    [1.3, 512, 512, 512, 1e6],
    ([rate = 1, padM = 1, padN = 1, padK = 1, fill = 1]) => ({
      ...passing,
      peak: { float32: best * rate },
      matmul: { efficiency: 1, padM, padN, padK, fill },
    }),
    // A product alone finds its factors in the cache; those of trainings stand for what counts.
    (device) => logError(productPairs(device, measured)) / 10 + missed('products')(device),
  )
  const attending = fitting(
    [0.5, 1e-7],
    [1, 1e-4],
    ([attentionEfficiency = 1, attentionQuery = 0]) => ({ ...multiplying, attentionEfficiency, attentionQuery }),
    missed('attention'),
  )
  return clusterOf(
    fitting([0.7], [1], ([updateEfficiency = 1]) => ({ ...attending, updateEfficiency }), missed('update')),
  )
}

function errorsOf(
  { device }: Cluster,
  measured: readonly MeasuredProduct[],
  observed: readonly ObservedTraining[],
): Calibration['errors'] {
  const mean = (errors: readonly number[]) =>
    errors.reduce((sum, error) => sum + Math.abs(error), 0) / Math.max(1, errors.length)
  return {
    shapes: mean(productPairs(device, measured).map(([predicted, seconds]) => predicted / seconds - 1)),
    ...eachKind((kind) => mean(shareErrors(device, observed, kind))),
  }
}
