/** Opens the runtime and the data of a run. */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { GpuChoice } from '../../engine/contract/gpu-choice.ts'
import { channels, type Ranks, type Transfer } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { openDataset } from '../data/open-dataset.ts'

/** The ranks that share the experts of a layer with this one, itself included: consecutive ranks from `first` on. */
export interface RankGroup {
  readonly first: number
  /** Rank of this process in the group. */
  readonly rank: number
  readonly size: number
  readonly ranks: Ranks
}

/**
 * Opens the runtime of a run.
 * @param group Ranks that share the experts; default: this process has all experts.
 * @param gpu Which GPU computes, if a GPU does; default: the one of `CHOIR_GPU`, or the fastest.
 */
export async function openRuntime(
  { runtime }: Pick<RunConfig, 'runtime'>,
  profile = false,
  group?: RankGroup,
  gpu: GpuChoice = {},
): Promise<Runtime> {
  const { device, threads, math } = runtime
  // Engines are loaded when asked for: they are large, and optional for users who only read reports or plan.
  if (device === 'cpu') {
    const { createRuntime } = await import('../../engine/cpu/cpu-runtime.ts')
    const place = group && { ...placeOf(group), orders: group.ranks.orders }
    return createRuntime({ math, profile, group: place, ...(threads !== undefined && { threads }) })
  }
  const { openNodeDevice } = await import('../../engine/dawn/node-device.ts')
  const { createDeviceRuntime } = await import('../../engine/webgpu/runtime.ts')
  const place = group && {
    ...placeOf(group),
    exchange: (transfers: readonly Transfer[]) => group.ranks.exchange(channels.experts, transfers),
  }
  const faster = 'runtime.device "cpu"'
  return createDeviceRuntime(await openNodeDevice(gpu), { profile, math, group: place, faster })
}

const placeOf = ({ first, rank, size }: RankGroup) => ({ first, rank, size })

export interface RunDataOptions {
  /** The run directory, which may hold text of the run. */
  readonly directory?: string
  /** The tokenizer of the run, if the run has one already. */
  readonly tokenizer?: Tokenizer
  /** Whether all text is held out. */
  readonly holdOutAll?: boolean
  readonly signal?: AbortSignal
  readonly onProgress: (message: string) => void
  /** Receives notices about files that are not read, or that are read in another format than their endings say. */
  readonly onNotice?: (message: string) => void
}

/** Opens the data of a run. */
export function openRunData(
  { model, data }: Pick<RunConfig, 'model' | 'data'>,
  options: RunDataOptions,
): Promise<Dataset> {
  return openDataset(data, {
    vocabulary: model.vocabulary,
    ...(options.holdOutAll ? { holdOutAll: true } : { sequence: model.sequence }),
    onProgress: options.onProgress,
    ...(options.onNotice && { onNotice: options.onNotice }),
    ...(options.directory !== undefined && { directory: options.directory }),
    ...(options.tokenizer && { tokenizer: options.tokenizer }),
    ...(options.signal && { signal: options.signal }),
  })
}
