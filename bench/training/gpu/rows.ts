/** Rows of the results of a GPU, each with the adapter and the versions that it was measured with. */

import { RunError } from '../../../src/core/errors.ts'
import type { Precision } from '../../../src/engine/contract/runtime.ts'
import { type DeviceDescription, listDevices } from '../../../src/engine/dawn/node-device.ts'
import { fileIn, readJson, today } from '../../support/results.ts'

/** The GPU, and the programs between it and the benchmark. */
export interface Card {
  readonly adapter: Pick<DeviceDescription, 'name' | 'vendor' | 'architecture' | 'description' | 'software'>
  readonly versions: { readonly choir: string; readonly webgpu: string; readonly node: string }
}

export const parts = ['matmul', 'memory', 'training'] as const
export type Part = (typeof parts)[number]

interface Row extends Card {
  readonly part: Part
  /** Name of the product, of the traffic or of the shape. */
  readonly name: string
  /** Precision of matrix products. */
  readonly math: Precision
  readonly date: string
}

/** Replaces a measurement that is missing, with the reason. */
export interface Missing {
  readonly missing: string
}

export interface MatmulRow extends Row {
  readonly part: 'matmul'
  /** A batch of `count` products of an m × k and a k × n matrix. */
  readonly count: number
  readonly m: number
  readonly n: number
  readonly k: number
  readonly ms: number
  /** GFLOP/s: 2 · count · m · n · k operations. */
  readonly gflops: number
  readonly pytorch: { readonly torch: string; readonly device: string; readonly gflops: number } | Missing
  /** Rate over PyTorch's. */
  readonly ratio: number | null
}

export interface MemoryRow extends Row {
  readonly part: 'memory'
  /** Bytes of an array. */
  readonly bytes: number
  /** Bytes read and written, GB/s. */
  readonly gbPerSecond: number
}

/** Medians over the timed steps. */
export interface Speed {
  readonly stepMs: number
  readonly tokensPerSecond: number
  /** Share of assignments that no expert dropped. */
  readonly keptShare: number
}

/** PyTorch in float32, in float32 with torch.compile, and in autocast (bfloat16) with torch.compile. */
export type PeerName = 'eager' | 'compiled' | 'autocast'

export interface CpuFacts {
  readonly provider: string
  readonly threads: number
}

export interface PyTorchFacts {
  readonly torch: string
  readonly device: string
  /** Whether torch.compile was used. */
  readonly compiled: boolean
}

/** Speed of another program; `speedRatio` is Choir's tokens per second divided by the program's. */
export interface Compared extends Speed {
  readonly speedRatio: number
}

export interface TrainingRow extends Row {
  readonly part: 'training'
  readonly parameters: number
  /** Tokens of a step. */
  readonly tokens: number
  /** Operations of the model in a step, without padding and dropped assignments. */
  readonly flopsPerStep: number
  readonly choir: Speed & {
    /** GFLOP/s of the model's operations. */
    readonly gflops: number
    /** `gflops` divided by `peakGflops`: model FLOPs utilisation. Above 1 if a step was faster than every product. */
    readonly mfu: number
    /** The best rate of a product that was measured on this GPU, GFLOP/s. */
    readonly peakGflops: number
  }
  readonly cpu: (Compared & CpuFacts) | Missing
  readonly pytorch: Readonly<Record<PeerName, (Compared & PyTorchFacts) | Missing>>
}

/** A row that could not be measured, such as a model that does not fit. */
export interface MissingRow extends Row, Missing {}

export type GpuRow = MatmulRow | MemoryRow | TrainingRow | MissingRow

export const keyOf = ({ part, name, math }: GpuRow): string => `${part} ${name} ${math}`

export const missing = (error: unknown): Missing => ({
  missing: error instanceof Error ? error.message : String(error),
})

/** The result of a measurement with a peer, or the reason why it is missing. */
export async function orMissing<Peer extends object, Result>(
  peer: Peer | Missing,
  measure: (peer: Peer) => Promise<Result>,
): Promise<Result | Missing> {
  return isMissing(peer) ? peer : measure(peer).catch(missing)
}

export const isMissing = (value: object): value is Missing => 'missing' in value

/** Fields that rows of every part have. */
export const rowFacts = (card: Card, name: string, math: Precision) => ({ name, math, date: today(), ...card })

/** The GPU that Choir uses. @throws RunError if there is none */
export async function findCard(): Promise<Card> {
  const { gpus, problem } = await listDevices()
  const [gpu] = gpus
  if (!gpu) throw new RunError(problem ?? 'no GPU')
  const { name, vendor, architecture, description, software } = gpu
  const versionOf = async (path: string) =>
    (await readJson<{ version: string }>(fileIn(`${path}package.json`)))?.version ?? 'unknown'
  return {
    adapter: { name, vendor, architecture, description, software },
    versions: {
      choir: await versionOf(''),
      webgpu: await versionOf('node_modules/webgpu/'),
      node: process.version,
    },
  }
}

/** `gpu-nvidia-h100-80gb-hbm3`: the name of the results of a card. */
export const cardName = ({ adapter }: Card): string =>
  `gpu-${adapter.name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')}`
