/**
 * Places of choices in the queues of experts, int32: T tokens with K choices each, G groups of tokens, N experts. A
 * kernel makes one pass over the choices, while ONNX Runtime would need rows of marks and their running sums. A group
 * is a task.
 */
import * as declared from '../../../../../core/graph/kernels/queues.ts'
import { implement, type KernelTensor } from '../../contract.ts'

const start = ({ offset, size }: KernelTensor, parts: number, part: number): number =>
  offset / 4 + (size / parts) * part
const dim = ({ shape }: KernelTensor, axis: number): number => shape[axis] as number

export const placeInQueues = implement(declared.placeInQueues, {
  provider: 'WASM',
  prepare({ attributes, inputs: { expert_TK }, outputs: { position_TK, count_GN, kept_GN } }, { integers }) {
    const { groups, experts, capacity, byChoice, k } = attributes
    const choices = dim(expert_TK, 1)
    const tokens = dim(expert_TK, 0) / groups
    const ranks = byChoice === 1 ? k : 1
    return {
      tasks: groups,
      run(group) {
        const [from, to] = [start(expert_TK, groups, group), start(position_TK, groups, group)]
        const [counts, keeps] = [start(count_GN, groups, group), start(kept_GN, groups, group)]
        integers.fill(0, counts, counts + experts)
        for (let rank = 0; rank < ranks; rank++)
          for (let t = 0; t < tokens; t++)
            for (let i = t * choices + rank; i < (t + 1) * choices; i += ranks) {
              const queue = counts + (integers[from + i] as number)
              integers[to + i] = integers[queue] as number
              integers[queue] = (integers[queue] as number) + 1
            }
        for (let n = 0; n < experts; n++) integers[keeps + n] = Math.min(integers[counts + n] as number, capacity)
      },
    }
  },
})

/**
 * The choices of a token are ranked by their gates. Equal gates, and choices without gates, are ranked by their place.
 */
export const placeByPosition = implement(declared.placeByPosition, {
  provider: 'WASM',
  prepare({ attributes, inputs, outputs }, { integers, floats }) {
    const { expert_TK: expert, earned_SN: earned, order, gate_TK: gate } = inputs
    const { position_TK: position, count_GN: count, kept_GN: kept } = outputs
    const { groups, experts, capacity, maxSaved, start: places } = attributes
    const [choices, sequence] = [dim(expert, 1), dim(earned, 0)]
    const sequences = order.size / sequence
    /**
     * Places that each expert has for a rank: saved places, and places that it earns or that overflow from the rank
     * before.
     */
    const saved = new Int32Array(choices * experts)
    const income = new Int32Array(choices * experts)
    const [overflow, ahead, seen] = [new Int32Array(experts), new Int32Array(experts), new Int32Array(experts)]
    const ranked = new Int32Array(sequences * choices)

    /**
     * Sets `ranked` to the choices of the tokens at a position, in order of service; a token's best choice comes first.
     */
    const rankAt = (s: number, gates: number | null): void => {
      for (let turn = 0; turn < sequences; turn++) {
        const token = integers[order.offset / 4 + s * sequences + turn] as number
        for (let choice = 0; choice < choices; choice++) {
          let at = turn * choices + choice
          if (gates !== null) {
            const own = floats[gates + token * choices + choice] as number
            for (; at > turn * choices; at--) {
              const before = ranked[at - 1] as number
              if (!(own > (floats[gates + before] as number))) break
              ranked[at] = before
            }
          }
          ranked[at] = token * choices + choice
        }
      }
    }

    /** Places the choices of a rank at a position, and counts them in `seen`. */
    const place = (rank: number, from: number, to: number): void => {
      seen.fill(0)
      for (let i = rank; i < ranked.length; i += choices) {
        const choice = ranked[i] as number
        const e = integers[from + choice] as number
        const before = seen[e] as number
        const at = rank * experts + e
        const fits = before < (saved[at] as number) + (income[at] as number)
        integers[to + choice] = fits ? (ahead[e] as number) + before : capacity
        seen[e] = before + 1
      }
    }

    /**
     * Saves the places of a rank that are left after a position, or lets them overflow to the next rank and position.
     */
    const passOn = (rank: number, counts: number, keeps: number): void => {
      for (let e = 0; e < experts; e++) {
        const at = rank * experts + e
        const has = (saved[at] as number) + (income[at] as number)
        const wanted = seen[e] as number
        const served = Math.min(wanted, has)
        integers[counts + e] = (integers[counts + e] as number) + wanted
        integers[keeps + e] = (integers[keeps + e] as number) + served
        ahead[e] = (ahead[e] as number) + served
        saved[at] = Math.min(maxSaved, has - served)
        income[at] = overflow[e] as number
        overflow[e] = has - served - (saved[at] as number)
      }
    }

    return {
      tasks: groups,
      run(group) {
        const [from, to] = [start(expert, groups, group), start(position, groups, group)]
        const [counts, keeps] = [start(count, groups, group), start(kept, groups, group)]
        for (const [rank, value] of places.entries()) saved.fill(value, rank * experts, (rank + 1) * experts)
        income.fill(0)
        ahead.fill(0)
        for (const totals of [counts, keeps]) integers.fill(0, totals, totals + experts)
        for (let s = 0; s < sequence; s++) {
          for (let e = 0; e < experts; e++) income[e] = integers[earned.offset / 4 + s * experts + e] as number
          rankAt(s, gate ? start(gate, groups, group) : null)
          for (let rank = 0; rank < choices; rank++) {
            place(rank, from, to)
            passOn(rank, counts, keeps)
          }
        }
      },
    }
  },
})
