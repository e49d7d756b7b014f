/** The layout of a training over ranks: conditions that it must fulfil, and facts that must be equal on all ranks. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { listWithOr, parseInput } from '../../core/config/problems.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'
import { version } from '../../core/version.ts'
import { RANGE_START } from '../../engine/contract/arena.ts'
import type { LocalPlace } from '../../engine/contract/gpu-choice.ts'
import { gatherJson, type Ranks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { refuseDifferences, together } from '../../train/run/agreement.ts'
import { isReproducible } from '../../train/step/store/gradient-tree.ts'
import { type Layout, rowFloats, sourcesKept } from '../../train/step/store/placement.ts'
import { layoutOf } from '../../train/step/trainer.ts'
import type { RankGroup } from '../run/session.ts'
import type { TrainOptions } from './options.ts'

/** The number of ranks, and which of them this process is. */
type Place = Pick<Ranks, 'rank' | 'size'>

/**
 * The configuration of a training, equal on all ranks, with the number of shards.
 * @throws UsageError if options contradict each other, ranks were given different arguments, or the configuration does
 *   not fit the number of ranks
 */
export async function agreedConfig(
  config: RunConfig,
  { directory, resume = false, checkpoint, from, profile = false, gpu, ranks = null }: TrainOptions,
): Promise<RunConfig> {
  if (checkpoint !== undefined && !resume)
    throw new UsageError(`invalid checkpoint: ${checkpoint} (expected only with resume, as the step of a checkpoint)`)
  expectDeviceOf(gpu, config)
  if (resume && from) throw new UsageError('invalid from: a run that is resumed has its own weights (leave out one)')
  await refuseDifferences(ranks, {
    "Choir's version": version(),
    'the configuration': createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 12),
    'the directory, or an option of train,': JSON.stringify({ directory, resume, checkpoint, from, profile }),
  })
  return together(ranks, () => forRanks(config, ranks, resume))
}

/** @throws UsageError if a GPU is chosen for a run of the processor */
export function expectDeviceOf(gpu: number | undefined, { runtime }: Pick<RunConfig, 'runtime'>): void {
  if (gpu !== undefined && runtime.device !== 'webgpu')
    throw new UsageError(
      wording`invalid ${option('gpu')}: ${gpu} (expected only with ${option('runtime.device', 'webgpu')})`,
    )
}

/** The ranks that share the experts with this one, itself included; undefined for a process alone. */
export function groupOf({ parallel: { expert } }: RunConfig, ranks: Ranks | null): RankGroup | undefined {
  if (!ranks) return undefined
  const { rank } = ranks
  return { first: rank - (rank % expert), rank: rank % expert, size: expert, ranks }
}

/** This process among the ranks of its machine; undefined for a process alone. */
export function localPlace(ranks: Pick<Ranks, 'rank' | 'roster'> | null): LocalPlace | undefined {
  if (!ranks) return undefined
  const { rank, roster } = ranks
  const here = roster.filter(({ host }) => host === roster[rank]?.host)
  return { rank: here.findIndex((other) => other.rank === rank), size: here.length }
}

/**
 * The configuration with the number of shards. A resumed run keeps its number of shards, which is 1 if the run was
 * begun in a process alone.
 * @throws UsageError if the batch, the experts or the shards do not fit the ranks
 */
export function forRanks(config: RunConfig, ranks: Place | null, resume: boolean): RunConfig {
  if (!ranks) return config
  const { size } = ranks
  const { shards = resume ? 1 : size, expert, data } = config.parallel
  const refuse = (field: string, value: unknown, expected: string): never => {
    throw new UsageError(`invalid parallel.${field}: ${value} (expected ${expected})`)
  }
  if (size % expert !== 0) refuse('expert', expert, `a divisor of the ${size} ranks`)
  if (data !== undefined && data !== size / expert)
    refuse('data', data, `${size / expert}: ${size} ranks in groups of ${expert} that share experts`)
  const { batch } = config.train
  if (config.parallel.shards === undefined && batch % shards !== 0)
    throw new UsageError(
      `invalid train.batch: ${batch} (expected a multiple of the ${shards} ranks, which share the batch, such as ` +
        `${Math.ceil(batch / shards) * shards}; or use fewer ranks)`,
    )
  if (shards % size !== 0) {
    const fitting = Array.from({ length: shards }, (_, i) => i + 1).filter((count) => shards % count === 0)
    const other = `start ${listWithOr(fitting.map(String))} ${shards === 1 ? 'rank' : 'ranks'}`
    const keeps = resume ? 'a run keeps its shards: ' : ''
    refuse('shards', shards, `a multiple of the ${size} ranks; ${keeps}${other}, or a new run with more shards`)
  }
  const used = { ...config, parallel: { ...config.parallel, shards } }
  if (config.parallel.reproducible && !isReproducible(layoutOf(used, ranks)))
    throw new UsageError(
      `invalid parallel.shards: ${shards} in groups of ${shards / size} for ${size} ranks, which share experts in ` +
        `groups of ${expert} (expected powers of two in a group, so that sums have the same order on any number of ` +
        'ranks; or set parallel.reproducible to false)',
    )
  if (used.runtime.device === 'webgpu' && expert > 1) checkGpus(used, layoutOf(used, ranks))
  return parseInput(runSchema, used, `configuration for ${size} ranks`)
}

/**
 * Ranks with GPUs move rows of whole words, and add gradients that begin where a kernel can read.
 * @throws UsageError if the sizes of the model do not allow that
 */
function checkGpus({ model, runtime, parallel: { expert } }: RunConfig, layout: Layout): void {
  if (runtime.math === 'f16' && model.width % 2 === 1)
    throw new UsageError(
      `invalid model.width: ${model.width} (expected an even number if GPUs share experts in f16, whose rows they exchange)`,
    )
  if (sourcesKept(layout) === 1) return
  for (const spec of parameterSpecs(model)) {
    const { name, stacked } = spec
    const floats = rowFloats(spec)
    if (stacked && floats % RANGE_START !== 0)
      throw new UsageError(
        `invalid parallel.expert: ${expert} (expected 1: an expert of ${name} has ${floats} numbers, which is no ` +
          `multiple of ${RANGE_START}, and GPUs keep its gradients by rank if a rank has several shards or passes; or ` +
          'set parallel.reproducible to false)',
      )
  }
}

/** Facts of the engine that results depend on. */
export const engineFacts = (runtime: Runtime): Record<string, string | number> => ({
  'the engine': `${runtime.name} ${runtime.version}, ${runtime.provider}`,
  'the precision': runtime.math,
  'the number of threads': runtime.threads,
})

/** Checks that all ranks see the run directory that the first rank has opened. @throws UsageError if one does not */
export async function expectSharedFolder(ranks: Ranks, directory: string): Promise<void> {
  const sees = existsSync(join(directory, 'config.json'))
  const all = await gatherJson(ranks, { host: hostname(), sees })
  const blind = all.findIndex((rank) => !rank.sees)
  await together(ranks, () => {
    if (blind < 0) return
    throw new UsageError(
      `invalid run directory: rank ${blind} on ${all[blind]?.host} does not see ${resolve(directory)}, which rank 0 on ` +
        `${all[0]?.host} writes (expected a folder that all machines share)`,
    )
  })
}
