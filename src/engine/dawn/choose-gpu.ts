/**
 * Which GPU of a machine a process uses.
 *
 *   an index (`--gpu N`, `CHOIR_GPU=N`)   that one of `choir devices`
 *   ranks, several GPUs                   rank i of a machine uses the i-th; software devices do not count
 *   otherwise                             the fastest
 *
 * Dawn knows GPUs by name and opens the first of a name, so only one of several equal GPUs can be reached. A process can
 * reach another one if it sees no other.
 */
import { option, UsageError, type Wording, wording } from '../../core/errors.ts'
import type { GpuChoice } from '../contract/gpu-choice.ts'

/** Whether a device of this name is a software device, which computes on the processor. */
const isSoftwareName = (name: string): boolean => /llvmpipe|swiftshader|software|lavapipe|basic render/i.test(name)

/** The index that `CHOIR_GPU` names; undefined if it is not set. @throws UsageError if it is no index */
export function gpuOfEnvironment(env: Readonly<Record<string, string | undefined>>): number | undefined {
  const text = env.CHOIR_GPU
  if (text === undefined || text === '') return undefined
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new UsageError(`invalid CHOIR_GPU: ${text} (expected the number of a GPU, from 0: see choir devices)`)
}

/**
 * The name of the GPU to open; null for the fastest.
 * @param names Names of the GPUs of this machine, in the order in which Dawn tries them.
 * @throws UsageError that names what is there, if there is no such GPU, or it cannot be reached
 */
export function chooseGpu(names: readonly string[], { index, place }: GpuChoice): string | null {
  if (index !== undefined) {
    if (index < names.length) return reachable(names, index)
    const expected = names.length === 1 ? '0' : `an index from 0 to ${names.length - 1}`
    throw new UsageError(wording`invalid ${option('gpu')}: ${index} (expected ${expected}: ${listOf(names)})`)
  }
  if (!place || place.size === 1) return null
  const cards = names.flatMap((name, i) => (isSoftwareName(name) ? [] : [i]))
  // Ranks may share a software device. A single card may be one that only this rank sees.
  if (cards.length < 2) return null
  const card = cards[place.rank]
  if (card !== undefined && place.size <= cards.length) return reachable(names, card)
  throw new UsageError(
    `${place.size} ranks are on this machine, which has ${cards.length} GPUs: ${listOf(names)} (start at most ` +
      `${cards.length} ranks on it, since each needs a GPU, or choose a GPU for each rank by CHOIR_GPU)`,
  )
}

function reachable(names: readonly string[], index: number): string {
  const name = names[index] as string
  if (names.findIndex((other) => other.includes(name)) === index) return name
  throw new UsageError(equalGpus(names, index))
}

const equalGpus = (names: readonly string[], index: number): Wording =>
  wording`GPU ${index} cannot be opened: ${listOf(names)}, and WebGPU opens the first GPU of a name (show each process only its own GPU: in a container, by --gpus-per-task=1 of Slurm, or by a variable of Vulkan such as DRI_PRIME=pci-0000_41_00_0!; docs/devices.md has examples)`

const listOf = (names: readonly string[]): string => names.map((name, i) => `${i} is ${name}`).join(', ')
