/** A model that is served: in memory, with places for several texts at once. */
import { basename, resolve } from 'node:path'
import { Cleanup } from '../../core/cleanup.ts'
import { formatValue } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { Contexts } from '../../use/infer/generation/contexts.ts'
import { ExpertTraffic } from '../../use/infer/generation/expert-traffic.ts'
import { sizeOfTexts } from '../../use/infer/generation/open-decoders.ts'
import { scratchOfTexts } from '../../use/infer/generation/token-memory.ts'
import { Scheduler, type SchedulerOptions } from '../../use/infer/streams/scheduler.ts'
import { loadModel, type ModelChoice, type TrainedModel } from '../../use/runs/trained-model.ts'

export interface ServedModel {
  /** Name in requests. */
  readonly id: string
  /** When it was loaded, in seconds since 1970. */
  readonly since: number
  readonly model: TrainedModel
  readonly scheduler: Scheduler
  /** Number of choices of experts for each token, in all layers; 0 for a dense model. */
  readonly choicesPerToken: number
  /** Experts that all texts have used. */
  readonly traffic: ExpertTraffic
  /** Ends all texts with an error and releases the model. */
  close(error: Error): Promise<void>
}

export interface PlacesOptions extends Omit<ModelChoice, 'math'>, SchedulerOptions {
  /** Number of texts that are written at the same time. */
  readonly streams: number
  /** Memory for the keys and values of all texts, in bytes; undefined: whole contexts for all. */
  readonly contextMemory: number | undefined
  readonly onMessage: OnMessage
  readonly signal: AbortSignal
}

/**
 * Names of models in requests: the last parts of their paths, or whole paths if two are the same.
 * @throws UsageError if a path is given twice
 */
export function idsOf(directories: readonly string[]): string[] {
  const paths = directories.map((directory) => resolve(directory))
  const twice = directories.find((_, i) => paths.indexOf(paths[i] as string) !== i)
  if (twice !== undefined) throw new UsageError(`invalid model: ${formatValue(twice)} is given twice`)
  const names = paths.map((path) => basename(path).replace(/\.gguf$/i, ''))
  return names.map((name, i) => (names.indexOf(name) === names.lastIndexOf(name) ? name : (directories[i] as string)))
}

/** Loads a model; the caller must close it. @throws UsageError if its places need more memory than there is */
export async function openServedModel(
  directory: string,
  id: string,
  { streams, contextMemory, onMessage, signal, queue, turn, onComputed, ...choice }: PlacesOptions,
): Promise<ServedModel> {
  const cleanup = new Cleanup()
  try {
    // Generation computes in float32, also for a run that trained in a precision that this device lacks.
    const model = await loadModel(directory, { ...choice, math: 'float32', signal }, onMessage, (config) =>
      scratchOfTexts(config, sizeOfTexts(config, streams, contextMemory)),
    )
    cleanup.defer(() => model.close())
    const traffic = new ExpertTraffic()
    const contexts = new Contexts(model.runtime, model.config.model, model.store, {
      count: streams,
      contextBytes: contextMemory,
      detailed: true,
      traffic,
    })
    cleanup.defer(() => contexts.release())
    const scheduler = new Scheduler(contexts, model.tokenizer, {
      queue,
      ...(turn && { turn }),
      ...(onComputed && { onComputed }),
    })
    return {
      id,
      since: Math.floor(Date.now() / 1000),
      model,
      scheduler,
      choicesPerToken: contexts.choicesPerToken,
      traffic,
      async close(error) {
        await scheduler.close(error)
        await cleanup.run()
      },
    }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}
