import { describe, expect, test } from 'vitest'
import { firstDifference, integers } from '../../testing/draws.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { queuePositions } from './queue-positions.ts'

describe.skipIf(testDevice === null)('queue-positions', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  // Several lines in a workgroup, a line in a block, several blocks, and so many blocks that their sums are in blocks.
  const shapes = [
    { lines: 1, length: 1, queues: 1 },
    { lines: 9, length: 16, queues: 5 },
    { lines: 70, length: 7, queues: 300 },
    { lines: 3, length: 256, queues: 4 },
    { lines: 2, length: 257, queues: 3 },
    { lines: 3, length: 1000, queues: 260 },
    { lines: 1, length: 600_000, queues: 2 },
  ]
  test.each(shapes)(
    'counts the equal entries before each entry, and all entries of each queue: %o',
    async ({ lines, length, queues }) => {
      const queue = integers(lines * length, queues, length)
      const results = await runKernel(device, queuePositions, {
        attributes: { queues },
        inputs: { queue: { dtype: 'int32', shape: [lines, length], data: queue } },
        outputs: {
          before: { dtype: 'int32', shape: [lines, length] },
          length: { dtype: 'int32', shape: [lines, queues] },
        },
      })
      const counts = new Int32Array(lines * queues)
      const expected = Int32Array.from(queue, (own, i) => {
        const at = Math.floor(i / length) * queues + own
        counts[at] = (counts[at] as number) + 1
        return (counts[at] as number) - 1
      })
      expect(firstDifference(results.before, expected)).toBe(null)
      expect(firstDifference(results.length, counts)).toBe(null)
    },
  )
})
