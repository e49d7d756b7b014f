/**
 * The learned router: T tokens, Z prototypes of n of the N experts, k choices in each, G groups of tokens. Its tasks
 * are bands of tokens, and their sums for the losses are added up in the order of the bands.
 */
import * as declared from '../../../../../core/graph/kernels/router.ts'
import { implement, type KernelCall, type KernelTensor } from '../../contract.ts'
import { bytesOfCall } from '../floats.ts'
import { bandsOf } from '../matmul.ts'

/** The bands of tokens of each group. */
function bandsOfGroups(tokens: number, groups: number) {
  const ofGroup = tokens / groups
  const bands = bandsOf(ofGroup, declared.bandsPerGroup(tokens, groups), 1)
  return Array.from({ length: groups }, (_, group) =>
    bands.map(({ from, length }) => ({ group, from: group * ofGroup + from, length })),
  ).flat()
}

const workOf = (call: KernelCall) => ({ flops: 0, bytes: bytesOfCall(call) })

/** A band has the sums of probabilities [N] and of choices [N], of (log Σ exp)² and of entropies. */
export const routeTokens = implement(declared.routeTokens, {
  provider: 'WASM',
  prepare({ inputs: { logits_TZN }, outputs, attributes }, { functions, floats }) {
    const { probability_TZN, logSum_TZ, expert_TK, gate_TK, sums } = outputs
    const { tokens, groups, prototypes, k, first } = attributes
    const width = logits_TZN.size / (tokens * prototypes)
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
          at(logits_TZN, from),
          at(probability_TZN, from),
          at(logSum_TZ, from),
          at(expert_TK, from),
          at(gate_TK, from),
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
  work: workOf,
})

export const routerLosses = implement(declared.routerLosses, {
  provider: 'WASM',
  prepare({ inputs: { sums }, outputs: { balance, z, entropy, share_GN: share }, attributes }, { floats }) {
    const { groups, prototypes, k, first, tokens } = attributes
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
})

export const routeTokensGradient = implement(declared.routeTokensGradient, {
  provider: 'WASM',
  scratch: ({ inputs: { probability_TZN }, attributes: { tokens } }) => (4 * probability_TZN.size) / tokens,
  prepare({ inputs, outputs: { dLogits_TZN }, attributes }, { functions, floats, scratch }) {
    const { probability_TZN, logSum_TZ, expert_TK, share_GN: share, dGate_TK, dBalance, dZ } = inputs
    const { tokens, groups, prototypes, k } = attributes
    const width = probability_TZN.size / (tokens * prototypes)
    const experts = prototypes * width
    const bands = bandsOfGroups(tokens, groups)
    const at = ({ offset, size }: KernelTensor, token: number): number => offset + 4 * (size / tokens) * token
    return {
      tasks: bands.length,
      run(task) {
        const { group, from, length } = bands[task] as (typeof bands)[number]
        // The loss is a mean over the tokens of a group, groups and prototypes, hence the division.
        const ofShare = (floats[dBalance.offset / 4] as number) / (tokens * prototypes)
        for (let e = 0; e < experts; e++)
          floats[scratch.offset / 4 + e] = (floats[share.offset / 4 + group * experts + e] as number) * ofShare
        functions.routeRowsGradient(
          at(probability_TZN, from),
          at(logSum_TZ, from),
          at(expert_TK, from),
          scratch.offset,
          at(dGate_TK, from),
          (2 * (floats[dZ.offset / 4] as number)) / (tokens * prototypes),
          at(dLogits_TZN, from),
          length,
          prototypes,
          width,
          k,
        )
      },
    }
  },
  work: workOf,
})
