/**
 * Places the values of a staged program in its memory. A value is live from the stage that computes it to the last
 * stage that reads it; values that are never live at the same time may share memory (`place-blocks.ts`).
 */
import type { StagedModel, StoredType } from '../../../core/graph/stages/contract.ts'
import { placeBlocks } from '../../contract/place-blocks.ts'

const bytesOf: Readonly<Record<StoredType, number>> = {
  float32: 4,
  bfloat16: 2,
  float64: 8,
  int32: 4,
  int64: 8,
  bool: 1,
}
/** Bytes of a cache line. */
const LINE = 64

export interface ValuePlaces {
  /** Byte offset of each value; null for values of ports and for unused values. */
  readonly offsets: readonly (number | null)[]
  readonly bytes: number
}

interface Allocation {
  readonly bytes: number
  readonly first: number
  last: number
}

export function placeValues({ values, stages, valueOfInput, valueOfOutput }: StagedModel): ValuePlaces {
  const ports = new Set([...valueOfInput, ...valueOfOutput])
  const allocationOf = new Map<number, Allocation>()
  const end = stages.length
  const open = (value: number, first: number, last: number) => {
    const bytes = roundUp(bytesOfValue(values[value] as StagedModel['values'][number]))
    allocationOf.set(value, { bytes, first, last })
  }
  values.forEach(({ constant }, value) => {
    if (constant && !ports.has(value)) open(value, 0, end)
  })
  const lastRead = values.map(() => -1)
  stages.forEach(({ inputs }, at) => {
    for (const { value } of inputs) lastRead[value] = at
  })
  stages.forEach((stage, at) => {
    const [from] = stage.inputs
    for (const [i, { value }] of stage.outputs.entries()) {
      if (ports.has(value)) continue
      const last = Math.max(at, lastRead[value] as number)
      const old =
        i === 0 && from && stage.kind === 'kernel' && stage.overwrites ? allocationOf.get(from.value) : undefined
      const bytes = roundUp(bytesOfValue(values[value] as StagedModel['values'][number]))
      if (old && from && lastRead[from.value] === at && old.last === at && old.bytes === bytes) {
        old.last = last
        allocationOf.set(value, old)
      } else open(value, at, last)
    }
  })
  const { offsets, bytes } = placeBlocks([...new Set(allocationOf.values())])
  const offsetOf = (value: number) => {
    const allocation = allocationOf.get(value)
    return allocation ? (offsets.get(allocation) ?? null) : null
  }
  return { offsets: values.map((_, value) => offsetOf(value)), bytes }
}

/**
 * The values in the program's memory that stages before `stage` have computed, and that it or a later stage reads.
 */
export function valuesBetween({ values, stages, valueOfInput, valueOfOutput }: StagedModel, stage: number): number[] {
  const ports = new Set([...valueOfInput, ...valueOfOutput])
  const computed = new Set(stages.slice(0, stage).flatMap(({ outputs }) => outputs.map(({ value }) => value)))
  const read = new Set(stages.slice(stage).flatMap(({ inputs }) => inputs.map(({ value }) => value)))
  return values.flatMap((_, value) => (computed.has(value) && read.has(value) && !ports.has(value) ? [value] : []))
}

/** Bytes that a value takes. */
export const bytesOfValue = ({ dtype, size }: StagedModel['values'][number]): number => size * bytesOf[dtype]

const roundUp = (bytes: number): number => Math.ceil(bytes / LINE) * LINE
