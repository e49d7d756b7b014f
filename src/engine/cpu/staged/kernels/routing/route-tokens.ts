/**
 * The learned router: T tokens, Z prototypes of n of the N experts, k choices in each, G groups of tokens. Its tasks are
 * bands of tokens; what they sum for its losses is added up in the order of the bands.
 */
import { bandsPerGroup, type RouterAttributes } from '../../../../../core/graph/ops/router.ts'
import type { Kernel, KernelCall, KernelTensor } from '../../contract.ts'
import { bandsOf } from '../matmul.ts'

/** The bands of tokens of each group. */
function bandsOfGroups(tokens: number, groups: number) {
  const ofGroup = tokens / groups
  const bands = bandsOf(ofGroup, bandsPerGroup(tokens, groups), 1)
  return Array.from({ length: groups }, (_, group) =>
    bands.map(({ from, length }) => ({ group, from: group * ofGroup + from, length })),
  ).flat()
}

const rule = ({ attributes }: KernelCall) => attributes as unknown as RouterAttributes
const bytesOf = ({ inputs, outputs }: KernelCall): number =>
  4 * [...inputs, ...outputs].reduce((total, { size }) => total + size, 0)

type Seven = [KernelTensor, KernelTensor, KernelTensor, KernelTensor, KernelTensor, KernelTensor, KernelTensor]

/**
 * Input logits [T, Z, n]; outputs probability [T, Z, n], log Σ exp [T, Z], expert int32 and gate [T, Z·k], and sums by
 * band, float64 [G·bands, 2N + 2]: of probabilities, of choices, of (log Σ exp)² and of entropies.
 */
export const routeTokens: Kernel = {
  provider: 'WASM',
  prepare(call, { functions, floats }) {
    const [logits] = call.inputs as [KernelTensor]
    const [probability, logSum, expert, gate, sums] = call.outputs as unknown as Seven
    const [tokens, prototypes, width] = logits.shape as [number, number, number]
    const { groups, k, first } = rule(call)
    const bands = bandsOfGroups(tokens, groups)
    const columns = sums.size / bands.length
    const at = ({ offset, size }: KernelTensor, token: number): number => offset + 4 * (size / tokens) * token
    return {
      tasks: bands.length,
      run(task) {
        const { from, length } = bands[task] as (typeof bands)[number]
        const totals = sums.offset + 8 * columns * task
        floats.fill(0, totals / 4, totals / 4 + 2 * columns)
        functions.routeRows(
          at(logits, from),
          at(probability, from),
          at(logSum, from),
          at(expert, from),
          at(gate, from),
          totals,
          length,
          prototypes,
          width,
          k,
          first,
        )
      },
    }
  },
  work: (call) => ({ flops: 0, bytes: bytesOf(call) }),
}

/** Input sums by band; outputs the losses balance, z and entropy, and each expert's share of the choices · n [G, N]. */
export const routerLosses: Kernel = {
  provider: 'WASM',
  prepare(call, { floats }) {
    const [sums] = call.inputs as [KernelTensor]
    const [balance, z, entropy, share] = call.outputs as unknown as Seven
    const { groups, prototypes, k, first, tokens } = rule(call)
    const [bands, columns] = sums.shape as [number, number]
    const experts = columns / 2 - 1
    const ofGroup = tokens / groups
    const choices = ofGroup * (first === 1 ? 1 : k)
    const values = new Float64Array(floats.buffer, sums.offset, sums.size)
    const total = new Float64Array(columns)
    return {
      tasks: 1,
      run() {
        let [balanced, squares, entropies] = [0, 0, 0]
        for (let group = 0; group < groups; group++) {
          total.fill(0)
          for (let band = (group * bands) / groups; band < ((group + 1) * bands) / groups; band++)
            for (let i = 0; i < columns; i++) total[i] = (total[i] as number) + (values[band * columns + i] as number)
          for (let e = 0; e < experts; e++) {
            const own = ((total[experts + e] as number) * (experts / prototypes)) / choices
            floats[share.offset / 4 + group * experts + e] = own
            balanced += (own * (total[e] as number)) / ofGroup
          }
          squares += total[2 * experts] as number
          entropies += total[2 * experts + 1] as number
        }
        floats[balance.offset / 4] = balanced / (groups * prototypes)
        floats[z.offset / 4] = squares / (tokens * prototypes)
        floats[entropy.offset / 4] = entropies / (tokens * prototypes)
      },
    }
  },
}

/**
 * Inputs probability, log Σ exp and expert of the router, share [G, N], and the gradients of gates [T, Z·k], balance and
 * z; output the gradient of the logits [T, Z, n].
 */
export const routeTokensGradient: Kernel = {
  provider: 'WASM',
  scratch: ({ inputs: [probability] }) => 4 * (probability?.shape[1] as number) * (probability?.shape[2] as number),
  prepare(call, { functions, floats, scratch }) {
    const [probability, logSum, expert, share, dGate, dBalance, dZ] = call.inputs as unknown as Seven
    const [dLogits] = call.outputs as [KernelTensor]
    const [tokens, prototypes, width] = probability.shape as [number, number, number]
    const { groups, k } = rule(call)
    const experts = prototypes * width
    const bands = bandsOfGroups(tokens, groups)
    const at = ({ offset, size }: KernelTensor, token: number): number => offset + 4 * (size / tokens) * token
    return {
      tasks: bands.length,
      run(task) {
        const { group, from, length } = bands[task] as (typeof bands)[number]
        // The gradient of a probability: of the mean over the tokens of the group, groups and prototypes.
        const ofShare = (floats[dBalance.offset / 4] as number) / (tokens * prototypes)
        for (let e = 0; e < experts; e++)
          floats[scratch.offset / 4 + e] = (floats[share.offset / 4 + group * experts + e] as number) * ofShare
        functions.routeRowsGradient(
          at(probability, from),
          at(logSum, from),
          at(expert, from),
          scratch.offset,
          at(dGate, from),
          (2 * (floats[dZ.offset / 4] as number)) / (tokens * prototypes),
          at(dLogits, from),
          length,
          prototypes,
          width,
          k,
        )
      },
    }
  },
  work: (call) => ({ flops: 0, bytes: bytesOf(call) }),
}
