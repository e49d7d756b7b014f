/**
 * The experts of a held-out text at the checkpoints of a run: what the page recolours as training proceeds. The model
 * of each checkpoint is loaded in turn, in the process that traces texts for the dashboard.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { grouped } from '../../../core/text/numbers.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import { ProblemError } from '../../http/problem.ts'
import type { RunSummary } from '../api.ts'
import type { UnnamedTrace } from '../tracing/messages.ts'
import type { TraceProcesses } from '../tracing/processes.ts'
import type { Sentence, SharedRun } from './shared-run.ts'

/** Most checkpoints, evenly spaced with the first and the last. */
const MAX_CHECKPOINTS = 12

/** Steps of the checkpoints in a run, in order. */
async function checkpointSteps(directory: string): Promise<number[]> {
  const names = await readdir(join(directory, 'checkpoints')).catch(() => [])
  const steps = names.flatMap((name) => (/^step-\d{8,}$/.test(name) ? [Number(name.slice(5))] : []))
  return steps.sort((a, b) => a - b)
}

/** At most `most` of the items, evenly spaced, with the first and the last. */
export const evenly = <T>(items: readonly T[], most: number): T[] =>
  items.length <= most
    ? [...items]
    : Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))] as T)

/** @returns the text with its experts, or the reason why there is none */
export async function sentenceOf(
  directory: string,
  { kind, traceable }: Pick<RunSummary, 'kind' | 'traceable'>,
  processes: Pick<TraceProcesses, 'ask'>,
  { signal, onMessage }: { readonly signal: AbortSignal; readonly onMessage: OnMessage },
): Promise<SharedRun['sentence']> {
  if (kind === 'trace') return { reason: 'A trace of Megatron-Core has neither a model nor a text.' }
  const steps = evenly(await checkpointSteps(directory), MAX_CHECKPOINTS)
  if (!traceable || steps.length === 0)
    return { reason: 'The run has no checkpoint from which the experts of a text can be computed.' }
  try {
    const { title, text } = await processes.ask(directory, { kind: 'sentence' }, signal)
    const found: UnnamedTrace[] = []
    const failed: { step: number; reason: string }[] = []
    for (const [i, step] of steps.entries()) {
      onMessage({
        kind: 'prepare',
        message: `routing a text with checkpoint ${i + 1} of ${steps.length}, step ${grouped(step)}`,
      })
      try {
        found.push(await processes.ask(directory, { kind: 'trace', what: { text }, checkpoint: step }, signal))
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error
        // A training removes old checkpoints meanwhile, and a checkpoint may be damaged.
        failed.push({ step, reason: error.message })
      }
    }
    return found.length > 0 ? assembled(title, found, failed) : { reason: failed[0]?.reason ?? '' }
  } catch (error) {
    if (error instanceof ProblemError) return { reason: error.message }
    throw error
  }
}

function assembled(title: string, traces: readonly UnnamedTrace[], failed: Sentence['failed']): Sentence {
  const [first] = traces as [UnnamedTrace, ...UnnamedTrace[]]
  return {
    title,
    tokens: first.tokens,
    routers: first.routers.map(({ layer, module, experts, prototypes, choices }) => ({
      layer,
      module,
      experts,
      prototypes,
      choices,
    })),
    traces: traces.map(({ step, loss, routers }) => ({
      step,
      loss,
      experts: routers.map(({ expert }) => [...expert]),
    })),
    failed,
  }
}
