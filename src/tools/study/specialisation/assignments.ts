/**
 * A routing trace as columns: one entry per token, and the choices of each router.
 *
 * A *router* here makes one decision: it is the router of a layer, or of one of its prototypes. Each router is a
 * separate random variable whose value is one of its experts; information is computed for each router.
 */
import { emptyTable, type Table } from '../../../use/infer/information.ts'
import type { BatchTrace, RouterTrace } from '../../../use/infer/routing-tracer.ts'

/** The kept choices of a router, for every token. */
export interface RouterChoices {
  readonly layer: number
  readonly prototype: number
  /** Number of experts to choose from. */
  readonly experts: number
  /** Number of choices per token. */
  readonly k: number
  /** Expert of each choice [P, k], numbered from 0 within the prototype; −1 if the choice was dropped. */
  readonly expert_PK: Int32Array
}

/** The P tokens that belong to documents, in the order of the trace. */
export interface Assignments {
  /** Token ids [P]. */
  readonly token_P: Int32Array
  /** Index of the document of each token [P]. */
  readonly document_P: Int32Array
  readonly routers: readonly RouterChoices[]
}

/** Collects the batches of a trace. @param tokens Number of tokens of the trace that belong to documents. */
export async function collectAssignments(batches: AsyncIterable<BatchTrace>, tokens: number): Promise<Assignments> {
  const token_P = new Int32Array(tokens)
  const document_P = new Int32Array(tokens)
  let routers: RouterChoices[] | undefined
  let at = 0
  for await (const batch of batches) {
    routers ??= routersOf(batch, tokens)
    for (const [t, document] of batch.document_T.entries()) {
      if (document < 0) continue
      token_P[at] = batch.token_T[t] as number
      document_P[at] = document
      copyChoices(batch, t, routers, at)
      at++
    }
  }
  if (at !== tokens) throw new Error(`internal: a trace of ${tokens} tokens gave ${at}`)
  return { token_P, document_P, routers: routers ?? [] }
}

/** Routers of feed-forward networks only, so that arms with and without experts in attention can be compared. */
const ffnRouters = ({ routers }: BatchTrace): readonly RouterTrace[] => routers.filter(({ module }) => module === 'ffn')

const routersOf = (batch: BatchTrace, tokens: number): RouterChoices[] =>
  ffnRouters(batch).flatMap(({ layer, experts, prototypes, expert_TK }) => {
    const k = expert_TK.length / batch.token_T.length / prototypes
    return Array.from({ length: prototypes }, (_, prototype) => ({
      layer,
      prototype,
      experts: experts / prototypes,
      k,
      expert_PK: new Int32Array(tokens * k),
    }))
  })

function copyChoices(batch: BatchTrace, t: number, routers: readonly RouterChoices[], at: number): void {
  let router = 0
  for (const { prototypes, expert_TK, kept_TK } of ffnRouters(batch))
    for (let z = 0; z < prototypes; z++) {
      const { k, experts, expert_PK } = routers[router++] as RouterChoices
      for (let j = 0; j < k; j++) {
        const choice = (t * prototypes + z) * k + j
        expert_PK[at * k + j] = kept_TK[choice] ? (expert_TK[choice] as number) - z * experts : -1
      }
    }
}

/** Counts kept choices by label of the token and by expert [labels, experts]; negative labels are omitted. */
export function tabulate({ experts, k, expert_PK }: RouterChoices, label_P: Int32Array, labels: number): Table {
  const table = emptyTable(labels, experts)
  for (const [i, expert] of expert_PK.entries()) {
    const label = label_P[Math.floor(i / k)] as number
    if (expert < 0 || label < 0) continue
    const at = label * experts + expert
    table.counts[at] = (table.counts[at] as number) + 1
  }
  return table
}
