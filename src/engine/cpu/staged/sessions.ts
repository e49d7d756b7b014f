/** The sessions of the ONNX stages of a program. Stages with equal models, as layers have, share a session. */
import type { Model, Origin } from '../../../core/graph/model.ts'
import type { OnnxStage, Stage } from '../../../core/graph/stages/contract.ts'
import type { Buffer } from '../../contract/runtime.ts'
import type { NodeTime, StepEvent } from '../../contract/times.ts'
import type { OnnxBinding } from './binding.ts'

/** A compiled ONNX stage; sessions of ONNX Runtime implement it. */
export interface OnnxProgram {
  bind(buffers: Readonly<Record<string, Buffer>>): OnnxBinding
  /** Node times of all runs. The call ends the recording. */
  allNodes(): readonly NodeTime[]
  /** The nodes of the last of `runs` runs, if it was recorded. Times are in ms from the start of the run. */
  lastNodes(runs: number): readonly StepEvent[]
  release(): void
}

export interface StageSession {
  readonly session: OnnxProgram
  readonly origins: ReadonlyMap<string, Origin>
}

export interface SessionParts {
  readonly threads: number
  readonly profile: boolean
  compile(model: Model, threads: number): Promise<OnnxProgram>
}

/**
 * Largest number of elements that an ONNX stage computes on one thread: waking another thread takes longer than
 * computing half of them.
 */
const FEW = 64 * 1024

/** Whether one thread runs a stage, without waking others. */
export const runsAlone = ({ elements }: OnnxStage): boolean => elements <= FEW

const textOf = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

/**
 * Compiles the ONNX stages, as many at a time as there are threads. With a profile every stage has its own session,
 * which records its nodes.
 * @returns A session for each stage; null for kernels.
 */
export async function compileStages(
  { threads, profile, compile }: SessionParts,
  stages: readonly Stage[],
): Promise<(StageSession | null)[]> {
  const different = new Map<string, OnnxStage>()
  const keys = stages.map((stage, at) => {
    if (stage.kind !== 'onnx') return null
    const key = profile ? `${at}` : textOf(stage.model.bytes)
    different.set(key, stage)
    return key
  })
  const sessions = new Map<string, OnnxProgram>()
  // All lanes take stages from the same iterator.
  const waiting = different.entries()
  const lane = async () => {
    for (const [key, stage] of waiting) sessions.set(key, await compile(stage.model, runsAlone(stage) ? 1 : threads))
  }
  const lanes = await Promise.allSettled(Array.from({ length: threads }, lane))
  const failed = lanes.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') {
    for (const session of sessions.values()) session.release()
    throw failed.reason
  }
  return stages.map((stage, at) => {
    const key = keys[at]
    if (stage.kind !== 'onnx' || typeof key !== 'string') return null
    return { session: sessions.get(key) as OnnxProgram, origins: stage.model.origins }
  })
}

export function releaseSessions(sessions: readonly (StageSession | null)[]): void {
  for (const session of new Set(sessions.flatMap((stage) => stage?.session ?? []))) session.release()
}
