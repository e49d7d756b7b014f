/** Calls of the kernels for AdamW with compact moments (assembly/compact-adamw.ts), for each thread. */
import type { AdamwSettings, CompactAdamwRange, Gate } from '../../contract/arena-kernels.ts'
import { type CompactState, MOMENT_BLOCK, momentBlocks, momentLayout } from '../../contract/moments.ts'
import { address } from './address.ts'
import type { Call } from './pool.ts'

/** Bytes of the two codes of a number, and of the two bounds of a block. */
const PAIR_BYTES = { bf16: 4, int8: 2 }
const BOUNDS_BYTES = 8

/**
 * The kernel, the calls of each thread, with about the same number of blocks, and the number of floats in all blocks.
 */
export function compactCalls(
  state: CompactState,
  ranges: readonly CompactAdamwRange[],
  settings: AdamwSettings,
  { scale }: Pick<Gate, 'scale'>,
  threads: number,
): [kernel: 'adamwBf16' | 'adamwInt8', lists: Call[][], floats: number] {
  const { beta1, beta2, size, correction, epsilon } = settings
  const moving = [settings.first * scale, settings.second * scale ** 2, beta1, beta2]
  const lists: Call[][] = Array.from({ length: threads }, () => [])
  const total = ranges.reduce((sum, { count }) => sum + momentBlocks(count), 0)
  let before = 0
  for (const { arena, p, g, moments, count, keep, factor = 1, seed } of ranges) {
    const step = [(factor * size) / correction, epsilon / correction]
    const { blocks, codes, floats } = momentLayout(state, count)
    const at = { p: address(arena, p, count), g: address(arena, g, count), moments: address(arena, moments, floats) }
    const bound = (thread: number) => Math.min(blocks, Math.max(0, Math.round((total * thread) / threads) - before))
    for (let thread = 0; thread < threads; thread++) {
      const [from, to] = [bound(thread), bound(thread + 1)]
      if (to <= from) continue
      const first = from * MOMENT_BLOCK
      const bounds = at.moments + codes * 4 + from * BOUNDS_BYTES
      const args = [
        ...[at.p + first * 4, at.g + first * 4, at.moments + first * PAIR_BYTES[state]],
        ...(state === 'int8' ? [bounds] : []),
        ...[Math.min(count, to * MOMENT_BLOCK) - first, first, seed, ...moving, ...step, keep],
      ]
      lists[thread]?.push({ arena, args })
    }
    before += blocks
  }
  return [state === 'bf16' ? 'adamwBf16' : 'adamwInt8', lists, total * MOMENT_BLOCK]
}
