/**
 * Plans the memory of a staged program. A value is live from the stage that computes it to the last one that
 * reads it; values that are never live at the same time may share memory. The largest are placed first, each
 * at the lowest offset that is free during its life.
 */
import type { DType } from '../../graph/model.ts'
import type { StagedModel } from '../../graph/stages/contract.ts'

const bytesOf: Readonly<Record<DType, number>> = { float32: 4, float64: 8, int32: 4, int64: 8, bool: 1 }
/** Bytes of a cache line. */
const LINE = 64

export interface MemoryPlan {
  /** Byte offset of each value; null for values of ports and for unused ones. */
  readonly offsets: readonly (number | null)[]
  readonly bytes: number
}

interface Allocation {
  readonly values: number[]
  readonly bytes: number
  readonly first: number
  last: number
}

export function planMemory({ values, stages, valueOfInput, valueOfOutput }: StagedModel): MemoryPlan {
  const ports = new Set([...valueOfInput, ...valueOfOutput])
  const allocationOf = new Map<number, Allocation>()
  const end = stages.length
  const open = (value: number, first: number, last: number) => {
    const { dtype, size } = values[value] as StagedModel['values'][number]
    allocationOf.set(value, { values: [value], bytes: roundUp(size * bytesOf[dtype]), first, last })
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
      const size = roundUp((values[value] as { size: number }).size * 4)
      if (old && from && lastRead[from.value] === at && old.last === at && old.bytes === size) {
        old.values.push(value)
        old.last = last
        allocationOf.set(value, old)
      } else open(value, at, last)
    }
  })
  return place([...new Set(allocationOf.values())], values.length)
}

function place(blocks: readonly Allocation[], count: number): MemoryPlan {
  const offsets: (number | null)[] = Array.from({ length: count }, () => null)
  const placed: { block: Allocation; offset: number }[] = []
  let bytes = 0
  for (const block of blocks.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    let offset = 0
    for (const other of placed) {
      const overlap = other.block.first <= block.last && block.first <= other.block.last
      if (!overlap) continue
      if (other.offset >= offset + block.bytes) break
      offset = Math.max(offset, other.offset + other.block.bytes)
    }
    for (const value of block.values) offsets[value] = offset
    placed.push({ block, offset })
    placed.sort((a, b) => a.offset - b.offset)
    bytes = Math.max(bytes, offset + block.bytes)
  }
  return { offsets, bytes }
}

const roundUp = (bytes: number): number => Math.ceil(bytes / LINE) * LINE
