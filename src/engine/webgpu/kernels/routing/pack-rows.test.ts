import { describe, expect, test } from 'vitest'
import { integers } from '../../testing/draws.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { packRows } from './pack-rows.ts'

describe.skipIf(testDevice === null)('pack-rows', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  // An invocation has one of up to 256 queues, and several of more queues.
  const cases = [
    { tokens: 1, choices: 1, groups: 1, experts: 1, capacity: null },
    { tokens: 40, choices: 2, groups: 1, experts: 5, capacity: 9 },
    { tokens: 300, choices: 3, groups: 4, experts: 7, capacity: null },
    { tokens: 600, choices: 2, groups: 3, experts: 130, capacity: 3 },
    { tokens: 512, choices: 1, groups: 2, experts: 300, capacity: 1 },
  ]
  test.each(cases)(
    'lays kept choices out by expert and group: %o',
    async ({ tokens, choices, groups, experts, capacity }) => {
      const count = tokens * choices
      const expert = integers(count, experts, 3)
      const groupOf = (choice: number) => Math.floor(choice / choices / (tokens / groups))
      const queues: number[][] = Array.from({ length: experts * groups }, () => [])
      const position = Int32Array.from(expert, (e, choice) => {
        const queue = queues[e * groups + groupOf(choice)] as number[]
        return queue.push(choice) - 1
      })
      const keptQueues = queues.map((queue) => queue.slice(0, capacity ?? count))
      const kept = Int32Array.from({ length: groups * experts }, (_, i) => {
        const [g, e] = [Math.floor(i / experts), i % experts]
        return (keptQueues[e * groups + g] as number[]).length
      })
      const rows = Math.min(count, capacity === null ? count : experts * groups * capacity)
      const int32 = (...shape: number[]) => ({ dtype: 'int32', shape }) as const
      const results = await runKernel(device, packRows, {
        attributes: { capacity: capacity ?? 2 ** 31 - 1, rows, tile: 1 },
        inputs: {
          expert_TK: { ...int32(tokens, choices), data: expert },
          position_TK: { ...int32(tokens, choices), data: position },
          kept_GN: { ...int32(groups, experts), data: kept },
        },
        outputs: {
          sizes: { dtype: 'int64', shape: [experts + 1] },
          rowOfChoice_TK: int32(tokens, choices),
          choiceOfRow_R: int32(rows),
          tokenOfRow_R: int32(rows),
          kept_TK: { dtype: 'float32', shape: [tokens, choices] },
        },
      })
      const inRows = keptQueues.flat()
      const padded = [...inRows, ...new Array<number>(rows - inRows.length).fill(0)]
      expect([...results.choiceOfRow_R]).toEqual(padded)
      expect([...results.tokenOfRow_R]).toEqual(padded.map((choice) => Math.floor(choice / choices)))
      const places = Array.from({ length: count }, (_, choice) => inRows.indexOf(choice))
      expect([...results.rowOfChoice_TK]).toEqual(places.map((row) => Math.max(row, 0)))
      expect([...results.kept_TK]).toEqual(places.map((row) => (row < 0 ? 0 : 1)))
      const sizeOf = (e: number) =>
        keptQueues.slice(e * groups, (e + 1) * groups).reduce((total, queue) => total + queue.length, 0)
      expect([...results.sizes]).toEqual([
        ...Array.from({ length: experts }, (_, e) => sizeOf(e)),
        rows - inRows.length,
      ])
    },
  )
})
