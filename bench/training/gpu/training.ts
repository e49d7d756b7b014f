/**
 * Measures training steps on the GPU, in turns with the CPU engine and with PyTorch on the same card. Only one of these
 * others is in memory at a time, so that a shape that nearly fills the card still fits.
 */

import { median } from '../../../src/core/averages.ts'
import { routingSets } from '../../../src/core/config/presets.ts'
import type { Precision } from '../../../src/engine/contract/runtime.ts'
import type { BenchmarkResult } from '../../../src/node/measure/benchmark.ts'
import { loadConfig } from '../../../src/node/run/load-config.ts'
import { peerShape } from '../../measure/compare.ts'
import type { PeerDevice } from '../../peers/python.ts'
import { type PeerOptions, type PeerRun, PyTorchPeer } from '../../peers/pytorch.ts'
import { TrainingProcess, TURN, WARM_UP } from '../../support/choir.ts'
import { using } from '../../support/line-process.ts'
import {
  type Card,
  type Compared,
  type CpuFacts,
  isMissing,
  type Missing,
  orMissing,
  type PeerName,
  type PyTorchFacts,
  rowFacts,
  type Speed,
  type TrainingRow,
} from './rows.ts'

export interface GpuShape {
  /** A preset, and assignments that change it. */
  readonly preset: string
  readonly sets: readonly string[]
  /** Whether the CPU engine trains the shape too; false if a step would take most of a minute. */
  readonly onCpu: boolean
}

/** Top-1 routing, with the head tied to the embedding as in the peers. */
const asPeers = routingSets('top-1')

/**
 * The shapes by name. L has 570 M parameters and 16384 tokens a step, in parts of 4096: enough rows for the cores of a
 * large card. `tiny` is for tests: the model of test/end-to-end, whose kernels a software device then compiles once.
 */
export const gpuShapes = {
  tiny: { preset: 'tiny', sets: ['model.vocabulary=257', 'data.tokenizer.kind=bytes'], onCpu: true },
  S: { preset: 'S', sets: asPeers, onCpu: true },
  M: { preset: 'M', sets: asPeers, onCpu: true },
  L: {
    preset: 'M',
    sets: [
      ...asPeers,
      'model.vocabulary=16384',
      'model.layers=4',
      'model.width=1024',
      'model.heads=16',
      'model.sequence=512',
      'model.moe.experts=16',
      'model.moe.hidden=4096',
      'train.batch=32',
      'train.microBatches=4',
    ],
    onCpu: false,
  },
} as const satisfies Readonly<Record<string, GpuShape>>

export type GpuShapeName = keyof typeof gpuShapes

export interface TrainingOptions {
  readonly math: Precision
  /** Threads of the CPU engine. */
  readonly threads: number
  readonly turns: number
  readonly quick: boolean
  readonly peer: PeerDevice | Missing
  /** The best rate of a product in this precision so far, GFLOP/s. */
  readonly peakGflops: number
}

const peerOptions: Readonly<Record<PeerName, PeerOptions>> = {
  eager: { precision: 'float32', compile: false },
  compiled: { precision: 'float32' },
  autocast: { precision: 'bf16' },
}

/** Minimum length of a turn: the clock of an idle GPU falls, so short turns would be slow. */
const TURN_MS = 300

export async function measureTraining(card: Card, name: GpuShapeName, options: TrainingOptions): Promise<TrainingRow> {
  const { math, threads, turns, quick, peer } = options
  const shape: GpuShape = gpuShapes[name]
  const config = await loadConfig(shape.preset, shape.sets)
  const tokens = config.train.batch * config.model.sequence
  const warmUp = quick ? 1 : WARM_UP
  const trainingOn = (device: 'cpu' | 'webgpu', math: Precision) =>
    TrainingProcess.start(shape.preset, [...shape.sets, `runtime.device=${device}`], { math, threads })
  return using(trainingOn('webgpu', math), async (gpu) => {
    await gpu.warmUp(warmUp)
    let result = await gpu.run(TURN)
    const stepsOfTurn = (stepMs: number) => (quick ? 1 : Math.max(TURN, Math.ceil(TURN_MS / stepMs)))
    const steps = stepsOfTurn(result.stepMs)
    const alternate = async (run: () => Promise<unknown>): Promise<void> => {
      for (let turn = 0; turn < turns; turn++) {
        await run()
        result = await gpu.run(steps)
      }
    }
    const onCpu = (): Promise<Speed & CpuFacts> =>
      using(trainingOn('cpu', 'float32'), async (cpu) => {
        await cpu.warmUp(warmUp)
        let last = await cpu.run(1)
        await alternate(async () => {
          last = await cpu.run(TURN)
        })
        return { provider: last.provider, threads, ...speedOf(last) }
      })
    const inPyTorch = (device: PeerDevice, peerName: PeerName): Promise<Speed & PyTorchFacts> => {
      const started = { ...device, ...peerOptions[peerName], balanced: true, autograd: true }
      return using(PyTorchPeer.start(peerShape(config), 'top1', started), async (pytorch) => {
        await pytorch.run(warmUp)
        const stepsOfPeer = stepsOfTurn(median((await pytorch.run(TURN)).stepMs))
        const runs: PeerRun[] = []
        await alternate(async () => runs.push(await pytorch.run(stepsOfPeer)))
        const { torch, device, compiled } = pytorch.info
        return { torch, device, compiled, ...peerSpeed(runs, tokens) }
      })
    }
    const cpu: (Speed & CpuFacts) | Missing = shape.onCpu
      ? await onCpu()
      : { missing: 'a step on a CPU takes most of a minute' }
    const others: { readonly [Name in PeerName]: (Speed & PyTorchFacts) | Missing } = {
      eager: await orMissing(peer, (device) => inPyTorch(device, 'eager')),
      compiled: await orMissing(peer, (device) => inPyTorch(device, 'compiled')),
      autocast: await orMissing(peer, (device) => inPyTorch(device, 'autocast')),
    }
    const compared = <Facts>(other: (Speed & Facts) | Missing): (Compared & Facts) | Missing =>
      isMissing(other) ? other : { ...other, speedRatio: result.tokensPerSecond / other.tokensPerSecond }
    const gflops = result.flopsPerStep / result.stepMs / 1e6
    const peakGflops = Math.max(options.peakGflops, result.peakFlops / 1e9)
    return {
      part: 'training',
      ...rowFacts(card, name, math),
      parameters: result.parameters,
      tokens,
      flopsPerStep: result.flopsPerStep,
      choir: { ...speedOf(result), gflops, mfu: gflops / peakGflops, peakGflops },
      cpu: compared(cpu),
      pytorch: {
        eager: compared(others.eager),
        compiled: compared(others.compiled),
        autocast: compared(others.autocast),
      },
    }
  })
}

const speedOf = ({ stepMs, tokensPerSecond, dropRate }: BenchmarkResult): Speed => ({
  stepMs,
  tokensPerSecond,
  keptShare: 1 - dropRate,
})

function peerSpeed(runs: readonly PeerRun[], tokens: number): Speed {
  const stepMs = median(runs.flatMap(({ stepMs }) => stepMs))
  const keptShare = median(runs.map(({ keptShare }) => keptShare))
  return { stepMs, tokensPerSecond: (1000 * tokens) / stepMs, keptShare }
}
