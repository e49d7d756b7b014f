/**
 * Where the tensors of a model lie: which bank has each of them, and its offset in each region of the bank. A model
 * that fits into one arena has one bank. Offsets are assigned once, before memory is allocated, so that a model that is
 * too large is refused with what would fit.
 */
import { UsageError } from '../../../core/errors.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { bytes } from '../../../core/text/numbers.ts'
import { Bank, fillBanks, type Memory, paddedFloats, type Regions } from './bank.ts'

export interface TensorLocation {
  readonly spec: ParameterSpec
  readonly bank: Bank
  /** Offset in the region of parameters, in floats. */
  readonly offset: number
  /** Offset in the region of gradients, in floats. */
  readonly gradient: number
  /**
   * Number of floats of the state of the part that this rank owns, and its offset in a region of moments; null if this
   * rank owns no part.
   */
  readonly owned: { readonly floats: number; readonly offset: number } | null
}

/** The memory that tensors need besides their values, in floats. Without regions of gradients they are not trained. */
export interface PlacedMemory extends Omit<Regions, 'parameters' | 'gradients' | 'moments'> {
  /** Number of floats of a tensor in a region of gradients. */
  gradients(spec: ParameterSpec): number
  /** Number of floats of a tensor in a region of moments; 0 if this rank owns no part of it. */
  moments(spec: ParameterSpec): number
}

/**
 * Allocates the banks, and places every tensor.
 * @throws UsageError if the tensors, or the scratch memory beside them, need more memory than there is
 */
export function placeTensors(
  runtime: Memory,
  specs: readonly ParameterSpec[],
  memory: PlacedMemory,
): { readonly banks: Bank[]; readonly locations: Map<string, TensorLocation> } {
  const { maxArenaBytes, memoryBytes } = runtime
  const { scratch, beside } = memory
  const isTrained = memory.gradientRegions > 0
  if (scratch * 4 > maxArenaBytes / 2)
    throw new UsageError(
      `invalid train.batch: a micro-batch needs ${scratch * 4} bytes beside the embedding (expected at most ` +
        `${maxArenaBytes / 2}; use a smaller batch or more train.microBatches)`,
    )
  const sizeIn = (spec: ParameterSpec) =>
    paddedFloats(sizeOf(spec.shape)) +
    memory.gradientRegions * memory.gradients(spec) +
    memory.momentRegions * paddedFloats(memory.moments(spec))
  const needed = 4 * specs.reduce((sum, spec) => sum + sizeIn(spec), 0)
  if (memoryBytes !== undefined && needed > memoryBytes)
    throw new UsageError(
      `the model is too large for this machine: ${isTrained ? 'parameters, gradients and moments' : 'its parameters'} ` +
        `take ${bytes(needed)}, and it has ${bytes(memoryBytes)} of memory ` +
        (isTrained
          ? '(choose fewer layers or experts, or smaller widths; choir inspect lists the tensors)'
          : '(try the weights "bf16", "int8" or "int4", which take a half, a quarter or a seventh)'),
    )
  const locations = new Map<string, TensorLocation>()
  const banks = fillBanks(specs, sizeIn, scratch + beside, maxArenaBytes).map((filled) => {
    const { regions, places } = placeInBank(filled, memory)
    const bank = new Bank(runtime, regions)
    for (const place of places) locations.set(place.spec.name, { ...place, bank })
    return bank
  })
  return { banks, locations }
}

/** The offsets of the tensors of a bank: first the tensors with weight decay, in each region. */
function placeInBank(specs: readonly ParameterSpec[], memory: PlacedMemory) {
  const { gradientRegions, momentRegions, scratch, beside } = memory
  let [parameters, gradients, moments] = [0, 0, 0]
  const places: Omit<TensorLocation, 'bank'>[] = []
  for (const spec of [...specs.filter(({ decay }) => decay), ...specs.filter(({ decay }) => !decay)]) {
    const floats = memory.moments(spec)
    const owned = floats > 0 ? { floats, offset: moments } : null
    places.push({ spec, offset: parameters, gradient: gradients, owned })
    parameters += paddedFloats(sizeOf(spec.shape))
    gradients += memory.gradients(spec)
    moments += paddedFloats(floats)
  }
  const regions: Regions = { parameters, gradients, gradientRegions, moments, momentRegions, scratch, beside }
  return { regions, places }
}
